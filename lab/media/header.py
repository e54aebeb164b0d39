"""The header in front of every FWHT frame, and the walk from header to header through a stream.

Source of the format: ``struct fwht_cframe_hdr`` in Linux 6.12,
drivers/media/test-drivers/vicodec/codec-fwht.h, and the ``V4L2_FWHT_FL_*`` flags in
include/uapi/linux/v4l2-controls.h. Eleven 32-bit words, big endian.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntFlag

from lab.base.errors import ConfigError

MAGIC = bytes.fromhex("4f4f4f4fffffffff")
VERSION = 3
MAX_WIDTH, MAX_HEIGHT = 4096, 2160
"""The largest picture of the kernel's own FWHT decoder (vicodec-core.c, MAX_WIDTH and MAX_HEIGHT)."""
MAX_STREAM_PIXELS = 1 << 28
"""Luma pixels that one stream may claim: some 10,000 QCIF frames. Bounds the time a hostile file costs."""

_WORDS = struct.Struct(">8s9I")
SIZE = _WORDS.size


class Flags(IntFlag):
    """The bits of the header's ``flags`` word that matter to progressive YUV."""

    LUMA_RAW = 1 << 4
    CB_RAW = 1 << 5
    CR_RAW = 1 << 6
    CHROMA_FULL_HEIGHT = 1 << 7
    CHROMA_FULL_WIDTH = 1 << 8
    INTRA = 1 << 10


_COMPONENTS_SHIFT, _COMPONENTS_MASK = 16, 7
_ENCODING_SHIFT, _ENCODING_MASK, _ENCODING_YUV = 19, 3, 1


class MediaError(ConfigError):
    """A stream that cannot be decoded. ``frame`` and ``offset`` (bytes) count from 0 in the stream."""

    def __init__(self, message: str, *, frame: int, offset: int) -> None:
        super().__init__(f"frame {frame} at byte {offset}: {message}")
        self.frame = frame
        self.offset = offset


@dataclass(frozen=True)
class Header:
    """One frame's header. ``offset`` is where it begins in the stream, ``index`` counts frames from 0."""

    width: int
    height: int
    flags: int
    size: int
    index: int = 0
    offset: int = 0
    version: int = VERSION

    @property
    def intra(self) -> bool:
        """No block of the frame needs the frame before it."""
        return bool(self.flags & Flags.INTRA)

    @property
    def total(self) -> int:
        """Bytes of header and payload together: what one OUTPUT buffer of the decoder takes."""
        return SIZE + self.size

    def pack(self) -> bytes:
        """The header's 44 bytes. Colour fields are 0: the decoder's defaults."""
        flags = self.flags | 2 << _COMPONENTS_SHIFT | _ENCODING_YUV << _ENCODING_SHIFT
        return _WORDS.pack(MAGIC, VERSION, self.width, self.height, flags, 0, 0, 0, 0, self.size)


def parse(stream: bytes, offset: int, index: int) -> Header:
    """The header at ``offset``.

    Raises MediaError where there is none, where its frame is not wholly there, or where it is not
    progressive 8-bit YUV 4:2:0 of a size within the limits. Nothing is allocated by then.
    """

    def refuse(message: str) -> MediaError:
        return MediaError(message, frame=index, offset=offset)

    left = len(stream) - offset
    if left < SIZE:
        raise refuse(f"the stream ends {SIZE - left} bytes before the end of the frame's header")
    magic, version, width, height, flags, _, _, _, _, size = _WORDS.unpack_from(stream, offset)
    if magic != MAGIC:
        raise refuse(f"no FWHT frame begins here (magic {magic.hex()})")
    if not 1 <= version <= VERSION:
        raise refuse(f"FWHT version {version} is not known (1 to {VERSION} are)")
    if not (1 <= width <= MAX_WIDTH and 1 <= height <= MAX_HEIGHT):
        raise refuse(f"size {width}x{height} is not within 1x1 and {MAX_WIDTH}x{MAX_HEIGHT}")
    components = (flags >> _COMPONENTS_SHIFT & _COMPONENTS_MASK) + 1 if version >= 2 else 3
    encoding = flags >> _ENCODING_SHIFT & _ENCODING_MASK if version >= 2 else _ENCODING_YUV
    full_chroma = flags & (Flags.CHROMA_FULL_HEIGHT | Flags.CHROMA_FULL_WIDTH)
    if components != 3 or encoding != _ENCODING_YUV or full_chroma:
        raise refuse(f"not YUV 4:2:0 (flags {flags:#x})")
    if size > left - SIZE:
        raise refuse(f"the frame's payload is cut: {left - SIZE} of {size} bytes are there")
    return Header(width, height, flags, size, index, offset, version)


def walk(stream: bytes) -> Iterator[Header]:
    """The headers of ``stream``, one after another. Raises MediaError as ``parse`` does."""
    offset = index = pixels = 0
    while offset < len(stream):
        header = parse(stream, offset, index)
        pixels += header.width * header.height
        if pixels > MAX_STREAM_PIXELS:
            raise MediaError(
                f"the stream claims more than {MAX_STREAM_PIXELS} pixels", frame=index, offset=offset
            )
        yield header
        offset += header.total
        index += 1
    if not index:
        raise MediaError("the stream is empty", frame=0, offset=0)


def scan(stream: bytes) -> list[Header]:
    """All headers of ``stream``: checks the whole file's frame structure without decoding it."""
    return list(walk(stream))
