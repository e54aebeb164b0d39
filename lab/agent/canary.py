"""What lay in a buffer before its frame came: seen there, and not only written."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from .dmabuf import DmaBuf


class Canary:
    """One byte value that fills buffers before each decoding.

    ``byte``: ``None`` as soon as a frame came into a buffer in which it had not been seen since the last one.
    """

    def __init__(self, byte: int) -> None:
        self.byte: int | None = byte
        self._value = byte
        self._blank: set[int] = set()  # inodes of the buffers in which it is

    def fill(self, buffer: DmaBuf) -> None:
        """Write it to a whole buffer, and look whether it is there."""
        buffer.fill(self._value)
        if buffer.holds(self._value):
            self._blank.add(buffer.inode)

    def came(self, buffers: Iterable[DmaBuf]) -> None:
        """Note that a frame came into all of ``buffers``."""
        inodes = {buffer.inode for buffer in buffers}
        if not inodes <= self._blank:
            self.byte = None
        self._blank -= inodes
