"""A stream together with the frames that it must decode to."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from lab.media import patterns
from lab.media.decoder import decode
from lab.media.encoder import encode
from lab.media.frame import Frame
from lab.media.header import scan


@dataclass(frozen=True)
class Stream:
    """FWHT frames one after another, as in a ``.fwht`` file."""

    data: bytes

    @cached_property
    def sizes(self) -> list[int]:
        """Bytes of each frame, header included: how a decoder's OUTPUT buffers are filled."""
        return [header.total for header in scan(self.data)]

    @cached_property
    def frames(self) -> list[Frame]:
        """The frames by the reference decoder."""
        return list(decode(self.data))

    def references(self, fourcc: str, *, stride: int | None = None, height: int | None = None) -> list[bytes]:
        """What a CAPTURE buffer must hold after each frame (see ``Frame.pack``)."""
        return [frame.pack(fourcc, stride=stride, height=height) for frame in self.frames]


def sample(width: int = 176, height: int = 144, count: int = 3, *, gop: int = 8) -> Stream:
    """A stream of ``patterns.moving``. The size is in pixels; QCIF costs the virtual decoder 2 s a frame."""
    return Stream(encode(patterns.moving(width, height, count), gop=gop))
