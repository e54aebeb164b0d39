"""The snapshots of one board of a rack, from the outside."""

from __future__ import annotations

import json
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from lab.base.errors import LabError

if TYPE_CHECKING:
    from lab.rack.rack import Rack

TIMEOUT = 150.0
"""Seconds for one answer: longer than the supervisor gives QEMU."""


class BoardSnapshots:
    """Saves a running board and brings it back; the rack adds all that it knows of the machine to a key.

    A key is a hex SHA-256 of everything else that the saved state depends on. All methods raise
    LabError where the rack does not answer or cannot do it.
    """

    def __init__(self, rack: Rack, name: str) -> None:
        self._rack = rack
        self._name = name

    def find(self, key: str) -> dict[str, Any] | None:
        """What was said of the snapshot when it was saved; None: there is none of this machine."""
        return self._request("GET", key)

    def save(self, key: str, about: dict[str, Any]) -> None:
        """Save the running board as ``key``; it stands still meanwhile, then runs on."""
        self._request("PUT", key, json.dumps(about).encode())

    def resume(self, key: str) -> bool:
        """Switch the board on, in the state that was saved as ``key``; False: there is none.

        A snapshot that turns out damaged, or that QEMU refuses, is removed: LabError, and the board is off.
        """
        return self._request("POST", key) is not None

    def discard(self, key: str) -> None:
        """Remove the snapshot; nothing where there is none."""
        self._request("DELETE", key)

    def _request(self, method: str, key: str, body: bytes = b"") -> dict[str, Any] | None:
        status, said = self._rack.request(method, f"/{self._name}/snap/{key}", body, timeout=TIMEOUT)
        if status == HTTPStatus.NOT_FOUND:
            return None
        if status != HTTPStatus.OK:
            raise LabError(said.decode(errors="replace").strip())
        answer: dict[str, Any] = json.loads(said)
        return answer
