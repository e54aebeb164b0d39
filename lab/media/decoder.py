"""The reference decoder for FWHT: what a board's pixels are held against."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence

from lab.media.blocks import (
    BROKEN_BIT,
    INTER_BIT,
    INTER_SHIFTS,
    INTRA_SHIFTS,
    REPEAT_MAX,
    REPEAT_SHIFT,
    from_words,
)
from lab.media.frame import Frame, Plane, chroma_size, luma_size
from lab.media.header import SIZE, Flags, Header, MediaError, walk
from lab.media.walsh import inverse

# Residuals lie within -512..511 and samples within 0..255, so an I block's sample needs entries for
# -384..639 and a P block's for -512..766. Index 0 stands for -512.
_CLAMP = bytes(min(max(value, 0), 255) for value in range(-512, 768))


class _DamagedError(Exception):
    """A plane's words make no sense. ``word`` is their position in the payload."""

    def __init__(self, message: str, word: int) -> None:
        super().__init__(message)
        self.word = word


def decode(stream: bytes) -> Iterator[Frame]:
    """The frames of ``stream``, each as soon as it is decoded.

    Raises MediaError, which names frame and byte, for a stream that is cut, damaged or not FWHT.
    Memory stays within a few frames of the size that the header claims (at most 4096x2160).
    """
    previous: Frame | None = None
    for header in walk(stream):
        start = header.offset + SIZE
        previous = decode_frame(header, stream[start : start + header.size], previous)
        yield previous


def decode_frame(header: Header, payload: bytes, previous: Frame | None) -> Frame:
    """One frame from its ``payload``; ``previous`` is the decoded frame before it, if any.

    Raises MediaError.
    """
    words = struct.unpack_from(f">{len(payload) // 2}H", payload)
    luma, chroma = luma_size(header.width, header.height), chroma_size(header.width, header.height)
    if previous is not None and (previous.width, previous.height) != (header.width, header.height):
        previous = None
    if previous is None and not header.intra:
        raise MediaError(
            "a P frame, and no frame of this size before it", frame=header.index, offset=header.offset
        )
    planes: dict[str, Plane] = {}
    position = 0
    for name, (width, height), raw in (
        ("y", luma, Flags.LUMA_RAW),
        ("cb", chroma, Flags.CB_RAW),
        ("cr", chroma, Flags.CR_RAW),
    ):
        try:
            if header.flags & raw:
                data = payload[2 * position : 2 * position + width * height]
                if len(data) < width * height:
                    raise _DamagedError("the payload ends within an uncompressed plane", len(words))
                position += len(data) // 2
            else:
                reference = getattr(previous, name) if previous is not None else None
                data, position = _decode_plane(words, position, width, height, reference)
        except _DamagedError as error:
            offset = header.offset + SIZE + 2 * error.word
            raise MediaError(f"{error} ({name} plane)", frame=header.index, offset=offset) from None
        planes[name] = Plane(width, height, data)
    return Frame(
        header.width,
        header.height,
        planes["y"],
        planes["cb"],
        planes["cr"],
        index=header.index,
        intra=header.intra,
    )


def _decode_plane(
    words: Sequence[int], position: int, width: int, height: int, reference: Plane | None
) -> tuple[bytes, int]:
    """The samples of one plane and the position behind its words. Raises _DamagedError."""
    out = bytearray(width * height)
    repeats = 0
    inter = False
    residual: list[tuple[int, ...]] = []
    rows: list[bytes] = []
    for top in range(0, width * height, 8 * width):
        for left in range(top, top + width, 8):
            if repeats:
                repeats -= 1
            else:
                start = position
                try:
                    head = words[position]
                    inter = bool(head & INTER_BIT)
                    block, position = from_words(words, position + 1, INTER_SHIFTS if inter else INTRA_SHIFTS)
                except IndexError:
                    raise _DamagedError("the payload ends within a block", len(words)) from None
                if head & BROKEN_BIT:
                    raise _DamagedError(f"block header {head:#06x} has bit 14 set", start)
                if inter and reference is None:
                    raise _DamagedError("a P block, and no frame of this size before it", start)
                repeats = head >> REPEAT_SHIFT & REPEAT_MAX
                residual = inverse(block)
                if not inter:
                    rows = [bytes([_CLAMP[value + 640] for value in row]) for row in residual]
            if inter:
                assert reference is not None
                rows = _added(residual, reference.data, left, width)
            for line, row in enumerate(rows):
                at = left + line * width
                out[at : at + 8] = row
    return bytes(out), position


def _added(residual: list[tuple[int, ...]], data: bytes, left: int, width: int) -> list[bytes]:
    """Eight rows: the block of ``data`` at ``left`` plus ``residual``, clamped."""
    rows = []
    for line, row in enumerate(residual):
        old = data[left + line * width : left + line * width + 8]
        rows.append(
            bytes([_CLAMP[value + sample + 512] for value, sample in zip(row, old, strict=True)])
            if any(row)
            else old
        )
    return rows
