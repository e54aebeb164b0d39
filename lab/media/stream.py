"""A stream together with the frames that it must decode to.

What a test feeds to a decoder is a `Coded`: FWHT made here, or a file whose pictures another decoder gave.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Protocol, Self

from lab.base.errors import ConfigError
from lab.media import patterns
from lab.media.decoder import decode
from lab.media.encoder import encode
from lab.media.frame import Frame
from lab.media.header import MediaError, scan

MAX_FILE = 256 << 20
"""Bytes of the largest file that is read; more than any stream within the pixel limit needs in practice."""


@contextmanager
def named(path: Path) -> Iterator[None]:
    """Errors about a stream name the file that it came from."""
    try:
        yield
    except MediaError as error:
        raise ConfigError(error.message, file=path) from None


class Coded(Protocol):
    """A stream in pieces of which a decoder's OUTPUT buffers get one each, and the pictures in it.

    ``coded``: its V4L2 fourcc. ``sizes``: bytes of each piece. ``shapes``: visible width and height of each
    picture, in the order of display, and ``pictures``: their pixels in I420 (`lab.media.layout`).
    """

    @property
    def name(self) -> str:
        """In a few words."""

    @property
    def coded(self) -> str:
        """FWHT, H264, HEVC, VP80, VP90."""

    @property
    def data(self) -> bytes:
        """All of it."""

    @property
    def sizes(self) -> list[int]:
        """Bytes of the pieces."""

    @property
    def shapes(self) -> list[tuple[int, int]]:
        """Width and height of the pictures."""

    @property
    def pictures(self) -> list[bytes]:
        """Their pixels."""


@dataclass(frozen=True)
class Recorded:
    """A `Coded` whose pictures were decoded elsewhere."""

    name: str
    coded: str
    data: bytes
    sizes: list[int]
    shapes: list[tuple[int, int]]
    pictures: list[bytes]


@dataclass(frozen=True)
class Stream:
    """FWHT frames one after another, as in a ``.fwht`` file."""

    data: bytes

    @classmethod
    def read(cls, path: Path) -> Self:
        """The stream in a file, whose frame structure is checked (not yet the frames' insides).

        Raises ConfigError, which names the file, and frame and byte where the stream is cut or none.
        """
        try:
            if not path.is_file():
                raise ConfigError("no such file" if not path.exists() else "not a file", file=path)
            if path.stat().st_size > MAX_FILE:
                raise ConfigError(f"larger than {MAX_FILE >> 20} MiB", file=path)
            stream = cls(path.read_bytes())
        except OSError as error:
            raise ConfigError(f"cannot be read ({error.strerror})", file=path) from None
        with named(path):
            _ = stream.sizes
        return stream

    @cached_property
    def sizes(self) -> list[int]:
        """Bytes of each frame, header included: how a decoder's OUTPUT buffers are filled."""
        return [header.total for header in scan(self.data)]

    @cached_property
    def frames(self) -> list[Frame]:
        """The frames by the reference decoder."""
        return list(decode(self.data))

    @property
    def name(self) -> str:
        """As in "FWHT 64x64"."""
        return f"FWHT {'x'.join(map(str, self.shapes[0]))}"

    @property
    def coded(self) -> str:
        """The fourcc."""
        return "FWHT"

    @property
    def shapes(self) -> list[tuple[int, int]]:
        """Visible width and height of each frame."""
        return [(frame.width, frame.height) for frame in self.frames]

    @property
    def pictures(self) -> list[bytes]:
        """The visible pixels of each frame, in I420."""
        return [frame.i420 for frame in self.frames]

    def references(self, fourcc: str, *, stride: int | None = None, height: int | None = None) -> list[bytes]:
        """What a CAPTURE buffer must hold after each frame (see ``Frame.pack``)."""
        return [frame.pack(fourcc, stride=stride, height=height) for frame in self.frames]


def sample(width: int = 176, height: int = 144, count: int = 3, *, gop: int = 8) -> Stream:
    """A stream of ``patterns.moving``. The size is in pixels; QCIF costs the virtual decoder 2 s a frame."""
    return Stream(encode(patterns.moving(width, height, count), gop=gop))
