"""A display for QEMU's ``-display dbus,p2p=on``: somebody to show pictures to, who is told of their dma-bufs.

Only with one does QEMU export the textures that its guest shows (ui/dbus-listener.c, dbus_scanout_texture).
Interfaces: ui/dbus-display1.xml of QEMU.
"""

from __future__ import annotations

import contextlib
import os
import struct
import threading
import time

from . import vmm
from .buffers import keep
from .dbus import ERROR, REPLY_SERIAL, Connection, Message
from .dmabuf import DmaBuf
from .videodev2 import fourcc_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

CONSOLE = "/org/qemu/Display1/Console_0"
INTERFACE = "org.qemu.Display1.Console"
AF_UNIX, SOCK_STREAM = 1, 1
SCANOUT_DMABUF = struct.Struct("<IIIII4xQI")  # signature huuuutb: descriptor, size, stride, format...
NO_PROPERTIES = ("a{sv}", bytes(8))
POLL = 0.02
LOGIN = 10.0
"""Seconds for QEMU to take a display."""


class Display:
    """The display of one QEMU process. A thread answers it: QEMU waits with drawing until it has."""

    def __init__(self) -> None:
        """Connect by the monitor; ``OSError`` where QEMU has no such display or does not answer."""
        self.pid = vmm.alive()
        self._lock = threading.Lock()
        self._scanout: dict[str, Any] | None = None
        self._fd = -1
        ours, theirs = _pair()
        try:
            vmm.vm_qmp("getfd", {"fdname": "sharelab"}, descriptor=theirs.fileno())
            vmm.vm_qmp("add_client", {"protocol": "@dbus-display", "fdname": "sharelab"})
        finally:
            theirs.close()
        self._console = Connection(ours)
        ours, theirs = _pair()
        try:
            body = ("h", struct.pack("<I", 0))
            serial = self._console.call(CONSOLE, INTERFACE, "RegisterListener", body, theirs.fileno())
        finally:
            theirs.close()
        self._listener = Connection(ours)
        ours.settimeout(None)
        threading.Thread(target=self._serve, name="display", daemon=True).start()
        self._accepted(serial)

    def _accepted(self, serial: int) -> None:
        while (message := self._console.receive()) is not None:
            message.close()
            if message.fields.get(REPLY_SERIAL) == serial:
                if message.kind == ERROR:
                    raise OSError(5, f"QEMU refused the display: {message.body[4:].decode(errors='replace')}")
                return
        raise ConnectionResetError(104, "QEMU closed the display's connection")

    def _serve(self) -> None:
        with contextlib.suppress(OSError):  # QEMU ended, or `close`
            self._listener.serve(self._handle)
        self._show(None, -1)

    def _handle(self, message: Message) -> tuple[str, bytes] | None:
        if message.member == "GetAll":
            return NO_PROPERTIES
        if message.member == "ScanoutDMABUF" and message.fds:
            _, width, height, stride, fourcc, modifier, upside_down = SCANOUT_DMABUF.unpack_from(message.body)
            scanout = {
                "width": width,
                "height": height,
                "stride": stride,
                "fourcc": fourcc_name(fourcc),
                "modifier": modifier,
                "upside_down": bool(upside_down),
            }
            self._show(scanout, message.fds.pop(0))
        elif message.member in ("Scanout", "Disable"):
            self._show(None, -1)
        return None

    def _show(self, scanout: dict[str, Any] | None, fd: int) -> None:
        with self._lock:
            if self._fd >= 0:
                os.close(self._fd)
            self._scanout, self._fd = scanout, fd

    def scanout(self) -> tuple[dict[str, Any], int] | None:
        """Return what is shown now and a descriptor of one's own; ``None`` where it is no dma-buf."""
        with self._lock:
            if self._scanout is None:
                return None
            return dict(self._scanout), os.dup(self._fd)

    def close(self) -> None:
        """Hang up."""
        self._console.close()
        self._listener.close()


def _pair() -> tuple[Any, Any]:
    import _socket  # the socket module takes long to load

    ours, theirs = _socket.socketpair(AF_UNIX, SOCK_STREAM)
    ours.settimeout(LOGIN)
    return ours, theirs


_display: Display | None = None


def vm_display() -> None:
    """Be the display of the running QEMU (``gl=on``); nothing if this agent is that already.

    From now on QEMU exports what its guest shows: see `vm_scanout`.
    """
    global _display
    if _display is not None and _display.pid != vmm.alive():
        _display.close()
        _display = None
    if _display is None:
        _display = Display()


def vm_scanout(begins: bytes = b"", timeout: float = 5.0) -> dict[str, Any] | None:
    """Take over the dma-buf that the VMM shows, as `vmview.vm_lift` does.

    ``begins``: what it has to begin with, for QEMU shows a placeholder of the same size first. ``None`` if
    none is shown within ``timeout`` seconds. Beside what `buffers.allocate` returns it has ``width``,
    ``height``, ``stride``, ``fourcc``, ``modifier`` and ``upside_down`` (the first row is the picture's
    last) in the words of the VMM.
    """
    vm_display()
    assert _display is not None
    deadline = time.monotonic() + timeout
    while True:
        if found := _display.scanout():
            described, fd = found
            buffer = DmaBuf(fd)
            if not begins or buffer.read(len(begins)) == begins:
                return {**keep(buffer), **described}
            buffer.close()
        if time.monotonic() > deadline:
            return None
        time.sleep(POLL)
