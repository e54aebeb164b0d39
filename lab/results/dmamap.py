"""A drawing of one DMA mapping: scattered pages of memory on the left, what the device sees on the right."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import Any

PAGE = 4096
_HEIGHT = 240.0  # of the boxes together; gaps come on top
_GAP = 5.0


@dataclass(frozen=True, slots=True)
class Box:
    """A piece of an address space: its top and height in the drawing, and what to write beside it."""

    y: float
    height: float
    label: str


@dataclass(frozen=True, slots=True)
class Drawing:
    """What to draw: boxes left (memory) and right (device), and lines between points of them."""

    memory: tuple[Box, ...]
    device: tuple[Box, ...]
    lines: tuple[tuple[float, float], ...]
    height: float
    caption: str


def draw(mapping: Mapping[str, Any]) -> Drawing | None:
    """The drawing of one entry of ``evidence["maps"]`` (a dma:dma_map_sg event).

    None where there is nothing to draw, or the entry is not of that form.
    """
    try:
        phys = [int(address) for address in mapping["phys"]]
        segments = [(int(address), int(length)) for address, length in mapping["dma"]]
    except (KeyError, TypeError, ValueError):
        return None
    segments = [(address, length) for address, length in segments if length > 0]
    total = sum(length for _, length in segments)
    if not phys or not segments or len(phys) > 1024:
        return None
    # The event has no length per piece of memory: pages where the sum fits, else equal parts.
    part = PAGE if len(phys) * PAGE == total else max(total // len(phys), 1)
    unit = _HEIGHT / total
    memory, memory_at = _stack([(address, part) for address in phys], unit)
    device, device_at = _stack(segments, unit)
    starts = [0, *accumulate(length for _, length in segments)][:-1]
    lines = []
    for number in range(len(phys)):
        offset = min(number * part, total - 1)
        segment = bisect_right(starts, offset) - 1
        middle = part * unit / 2
        lines.append(
            (memory_at[number] + middle, device_at[segment] + (offset - starts[segment]) * unit + middle)
        )
    bottom = max(box.y + box.height for box in (*memory, *device))
    runs = "run" if len(memory) == 1 else "runs"
    ranges = "range" if len(device) == 1 else "ranges"
    caption = f"{len(phys)} pieces in {len(memory)} {runs} of memory, {len(device)} {ranges} for the device"
    if mapping.get("truncated"):
        caption += "; the event was cut off"
    return Drawing(memory, device, tuple(lines), bottom, caption)


def _stack(pieces: list[tuple[int, int]], unit: float) -> tuple[tuple[Box, ...], list[float]]:
    """Boxes in the order of their addresses, neighbours as one box, and the top of each piece."""
    order = sorted(range(len(pieces)), key=lambda number: pieces[number])
    tops = [0.0] * len(pieces)
    boxes: list[Box] = []
    y = start = 0.0
    run = [order[0]]

    def close() -> None:
        length = sum(pieces[number][1] for number in run)
        boxes.append(Box(start, length * unit, f"{pieces[run[0]][0]:#x}  {length // 1024} KiB"))

    tops[order[0]] = y
    y += pieces[order[0]][1] * unit
    for before, number in pairwise(order):
        if pieces[before][0] + pieces[before][1] != pieces[number][0]:
            close()
            y += _GAP
            start, run = y, []
        run.append(number)
        tops[number] = y
        y += pieces[number][1] * unit
    close()
    return tuple(boxes), tops
