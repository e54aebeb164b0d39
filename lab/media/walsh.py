"""The Walsh transform of 8 and 8x8 numbers in sequency order, exact in integers."""

from __future__ import annotations

from collections.abc import Sequence

Eight = tuple[int, int, int, int, int, int, int, int]


def walsh8(a: int, b: int, c: int, d: int, e: int, f: int, g: int, h: int) -> Eight:
    """The eight Walsh coefficients; number k belongs to the function with k sign changes.

    Functions with an even number of changes are symmetric about the middle, the others
    antisymmetric. So folding the input there (sums, differences) leaves two transforms of four, and
    each of those folds likewise. The transform is its own inverse, times 8.
    """
    s, t, u, v = a + h, b + g, c + f, d + e
    even_s, even_t, odd_s, odd_t = s + v, t + u, s - v, t - u
    w, x, y, z = a - h, b - g, c - f, d - e
    even_w, even_x, odd_w, odd_x = w + z, x + y, w - z, x - y
    return (
        even_s + even_t,
        even_w + even_x,
        odd_s + odd_t,
        odd_w + odd_x,
        even_s - even_t,
        even_w - even_x,
        odd_s - odd_t,
        odd_w - odd_x,
    )


def forward(block: Sequence[int]) -> list[int]:
    """The 64 coefficients, row by row, of 64 values, row by row."""
    rows = [walsh8(*block[i : i + 8]) for i in range(0, 64, 8)]
    columns = [walsh8(*column) for column in zip(*rows, strict=True)]
    return [value for row in zip(*columns, strict=True) for value in row]


_ZEROS: Eight = (0,) * 8


def inverse(block: Sequence[int]) -> list[tuple[int, ...]]:
    """The eight rows of values, divided by 64 towards minus infinity, of 64 coefficients row by row.

    The decoder keeps the result of either pass in 16 bits (codec-fwht.c, ifwht): coefficients that
    no encoder makes wrap there, and they wrap here.
    """
    fits = sum(map(abs, block)) < 0x8000
    rows = []
    for i in range(0, 64, 8):
        line = block[i : i + 8]
        row = walsh8(*line) if any(line) else _ZEROS
        rows.append(row if fits else tuple(map(wrap16, row)))
    columns = [walsh8(*column) for column in zip(*rows, strict=True)]
    if fits:
        return [tuple([value >> 6 for value in row]) for row in zip(*columns, strict=True)]
    return [tuple([wrap16(value) >> 6 for value in row]) for row in zip(*columns, strict=True)]


def wrap16(value: int) -> int:
    """``value`` as a signed 16-bit store leaves it."""
    return ((value + 0x8000) & 0xFFFF) - 0x8000
