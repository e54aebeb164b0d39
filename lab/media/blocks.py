"""One 8x8 block of an FWHT plane: scan order, quantiser, run-length code.

A block is one 16-bit header word and then words of ``coefficient << 4 | run``: so many zeros, then
the coefficient (12 bits, signed). Run 15 ends the block. Header: bit 15 says that the block adds to
the frame before (P block), bits 1 to 12 how often it is repeated for the blocks that follow, bit 14
is never set. Source of the format: codec-fwht.h (comment) and codec-fwht.c (rlc, derlc,
quant_table, quant_table_p) of Linux 6.12.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from lab.media.walsh import wrap16

INTER_BIT = 1 << 15
BROKEN_BIT = 1 << 14
REPEAT_SHIFT, REPEAT_MAX = 1, 0xFFF
END = 15
_RUN_MAX = 14

SCAN = tuple(
    row * 8 + diagonal - row
    for diagonal in range(15)
    for row in range(max(0, diagonal - 7), min(diagonal, 7) + 1)
)
"""Position in the block (row by row) of each coefficient in stream order: diagonals, each from the top."""


def _shifts(by_diagonal: Sequence[int]) -> tuple[int, ...]:
    return tuple(by_diagonal[position // 8 + position % 8] for position in SCAN)


INTRA_SHIFTS = _shifts([2] * 9 + [3] + [6] * 4 + [8])
"""Bits that the quantiser drops from an I block's coefficients, in stream order: same on a diagonal."""
INTER_SHIFTS = _shifts([3] * 10 + [6] * 2 + [9] * 2 + [10])
"""The same for P blocks."""


def quantise(coefficients: Sequence[int], shifts: Sequence[int], threshold: int) -> list[int]:
    """Coefficients (row by row) in stream order, without ``shifts`` bits; up to ``threshold`` becomes 0."""
    levels = [coefficients[position] >> shift for position, shift in zip(SCAN, shifts, strict=True)]
    return [0 if -threshold <= level <= threshold else level for level in levels]


def to_words(levels: Sequence[int]) -> tuple[int, ...]:
    """The words behind a block's header that say 64 ``levels`` in stream order."""
    words = []
    run = 0
    last = max((index for index, level in enumerate(levels) if level), default=-1)
    for level in levels[: last + 1]:
        if level == 0 and run < _RUN_MAX:
            run += 1
        else:
            words.append((level & 0xFFF) << 4 | run)
            run = 0
    if last < 63:
        words.append(END)
    return tuple(words)


def from_words(words: Sequence[int], position: int, shifts: Sequence[int]) -> tuple[list[int], int]:
    """The 64 coefficients, row by row, of the words at ``position``, and the position behind them.

    Levels beyond the 64th are dropped, as the kernel does. Raises IndexError where the words end
    within the block.
    """
    block = [0] * 64
    count = 0
    while count < 64:
        word = words[position]
        position += 1
        run = word & 15
        if run == END:
            break
        count += run
        if count < 64:
            level = (word >> 4) - ((word & 0x8000) >> 3)
            block[SCAN[count]] = wrap16(level << shifts[count])
        count += 1
    return block, position


def repeated(blocks: Iterable[tuple[bool, tuple[int, ...]]]) -> list[int]:
    """The words of a plane from its blocks (is it a P block, its words): equal neighbours become repeats."""
    out: list[int] = []
    previous: tuple[bool, tuple[int, ...]] | None = None
    header = repeats = 0
    for block in blocks:
        if block == previous and repeats < REPEAT_MAX:
            repeats += 1
            out[header] += 1 << REPEAT_SHIFT
            continue
        inter, words = previous = block
        header, repeats = len(out), 0
        out.append(INTER_BIT if inter else 0)
        out.extend(words)
    return out
