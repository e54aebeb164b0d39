"""Whole results in blocks: the lines of a log, compressed together.

The lines of a run say much the same: sixty of them together need a tenth to a thirtieth of their room,
which is most of what a store writes.
"""

from __future__ import annotations

from zstandard import ZstdCompressor, ZstdDecompressor

SIZE = 64
"""Results in a block. To read one of them is to read them all: a fraction of a millisecond."""

MAX_BYTES = 1 << 20
"""A block is closed once its lines are longer than that: consoles can be long."""


def pack(lines: list[bytes]) -> bytes:
    """One block of lines, none of which has a newline."""
    return ZstdCompressor(level=1).compress(b"\n".join(lines))


def unpack(data: bytes) -> list[bytes]:
    """The lines of a block."""
    return ZstdDecompressor().decompress(data).split(b"\n")


def cut(lengths: list[int]) -> list[int]:
    """How many lines go into each block, for lines of so many bytes."""
    counts: list[int] = []
    room = 0
    for length in lengths:
        if not counts or counts[-1] == SIZE or room <= 0:
            counts.append(0)
            room = MAX_BYTES
        counts[-1] += 1
        room -= length
    return counts
