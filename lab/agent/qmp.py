"""QEMU's machine protocol over a UNIX socket (docs/interop/qmp-spec.rst of QEMU), one command at a time."""

from __future__ import annotations

import json
import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

AF_UNIX, SOCK_STREAM = 1, 1
SOL_SOCKET, SCM_RIGHTS = 1, 1


class Qmp:
    """A connection to the monitor of a running QEMU. ``OSError`` where nobody listens at ``path``."""

    def __init__(self, path: str, timeout: float = 10.0) -> None:
        import _socket  # the socket module takes long to load, and this needs little of it

        self._socket: Any = _socket.socket(AF_UNIX, SOCK_STREAM)
        self._pending = b""
        self._deadline = 0.0
        try:
            self._socket.connect(path)
            self._limit(timeout)
            self._message()  # the greeting
            self.execute("qmp_capabilities", timeout=timeout)
        except BaseException:
            self.close()
            raise

    def execute(
        self,
        command: str,
        arguments: dict[str, Any] | None = None,
        timeout: float = 10.0,
        descriptor: int | None = None,
    ) -> Any:
        """Return what ``command`` returns; `QmpError` if QEMU refuses it, ``TimeoutError`` without answer.

        ``descriptor``: a file descriptor to send along, for ``getfd``.
        """
        request = {"execute": command, **({"arguments": arguments} if arguments else {})}
        self._limit(timeout)
        data = json.dumps(request).encode() + b"\n"
        if descriptor is None:
            self._socket.sendall(data)
        else:
            rights = [(SOL_SOCKET, SCM_RIGHTS, descriptor.to_bytes(4, sys.byteorder))]
            self._socket.sendall(data[self._socket.sendmsg([data], rights) :])
        while True:
            message = self._message()
            if "return" in message:
                return message["return"]
            if "error" in message:
                raise QmpError(f"{command}: {message['error']['class']}: {message['error']['desc']}")
            # everything else is an event

    def _limit(self, seconds: float) -> None:
        self._deadline = time.monotonic() + seconds

    def _message(self) -> dict[str, Any]:
        while b"\n" not in self._pending:
            self._socket.settimeout(max(self._deadline - time.monotonic(), 0.001))
            data = self._socket.recv(1 << 16)
            if not data:
                raise ConnectionResetError(104, "QEMU closed its monitor")
            self._pending += data
        line, _, self._pending = self._pending.partition(b"\n")
        message: dict[str, Any] = json.loads(line)
        return message

    def close(self) -> None:
        """Leave the monitor; closing twice does nothing."""
        self._socket.close()


class QmpError(Exception):
    """QEMU refused a command."""
