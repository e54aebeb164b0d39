"""Programs that run on the board beside the tests: v4l2-compliance sleeps for 16 of its 17 seconds.

A test that is marked ``beside(ARGV...)`` looks at such a program. It comes last in its IOMMU mode, and
the program is started when the mode's board is booted. It must do no DMA while others measure.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from lab.base.errors import BoardError
from lab.base.words import IommuMode
from lab.boards import Board
from lab.boards.facts import Decoder
from lab.runs.record import params

MARK = "beside"


class Beside:
    """The programs of one session."""

    def __init__(self) -> None:
        self._wanted: dict[IommuMode, list[tuple[Decoder, tuple[str, ...]]]] = {}
        self._started: dict[tuple[str, tuple[str, ...]], int | BoardError] = {}  # by decoder's name
        self._boot: object = None

    def plan(self, items: Sequence[pytest.Item]) -> None:
        """Note what the marked ones of ``items`` want."""
        for item in items:
            mark = item.get_closest_marker(MARK)
            if mark is not None:
                found = params(item)
                self._wanted.setdefault(found["iommu_mode"], []).append((found["decoder"], mark.args))

    def ensure(self, board: Board, mode: IommuMode) -> None:
        """Start what ``mode`` wants, once a boot."""
        if board.times is self._boot:
            return
        self._boot = board.times
        self._started = {}
        for decoder, argv in self._wanted.get(mode, ()):
            words = [word.format(node=_node(board, decoder)) for word in argv]
            try:
                self._started[decoder.name, argv] = board.agent.call("start", argv=words)
            except BoardError as error:
                self._started[decoder.name, argv] = error

    def result(self, board: Board, decoder: Decoder, argv: tuple[str, ...], timeout: float) -> dict[str, Any]:
        """Wait for a program: rc, stdout, stderr. Raises BoardError where it did not start or end."""
        started = self._started.pop((decoder.name, argv))
        if isinstance(started, BoardError):
            raise started
        arguments = {"pid": started, "timeout": timeout}
        done: dict[str, Any] = board.agent.request("finish", arguments, timeout=timeout + 10)
        return done


def last(items: list[pytest.Item]) -> None:
    """Put the marked ones behind the others of their IOMMU mode; the order is otherwise kept."""
    modes = [params(item).get("iommu_mode") for item in items]
    first = {mode: modes.index(mode) for mode in dict.fromkeys(modes)}
    order = sorted(
        range(len(items)),
        key=lambda at: (first[modes[at]], items[at].get_closest_marker(MARK) is not None, at),
    )
    items[:] = [items[at] for at in order]


def _node(board: Board, decoder: Decoder) -> str:
    """The decoder's video node; a name that is none where its driver did not probe."""
    found = {item["device"]: str(item["node"]) for item in board.agent.call("decoders")}
    return found.get(decoder.device, f"no-node-of-{decoder.name}")
