"""The figures of a share that people compare: how they are named, scaled and read, and where they come from.

A result keeps them in ``metrics``, in base units with the unit at the end of the name. Counts that the
evidence holds (bounces, copied bytes) become metrics when a result is recorded, because comparisons read
metrics of thousands of results and evidence of none.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

from lab.base.words import Verdict

PAGE = 4096


class Kind(Enum):
    """How a figure varies, which decides how samples of it are compared."""

    RATE = "rate"  # positive; more is better
    TIME = "time"  # positive seconds; less is better
    COUNT = "count"  # counted, may be 0; less is better


@dataclass(frozen=True, slots=True)
class Figure:
    """``key`` in a result's metrics; ``title`` and ``short`` for people; ``unit``: where scale gives none."""

    key: str
    title: str
    kind: Kind
    short: str = ""
    unit: str = ""

    @property
    def more_is_better(self) -> bool:
        """Whether a larger value is the better one."""
        return self.kind is Kind.RATE


FIGURES = (
    Figure("frames_per_second", "frames/s", Kind.RATE, unit="/s"),
    Figure("decode_seconds", "decode latency", Kind.TIME, "decode"),
    Figure("import_seconds", "import latency", Kind.TIME, "import"),
    Figure("copied_bytes", "bytes copied", Kind.COUNT, "copied"),
    Figure("bounced_pages", "pages bounced", Kind.COUNT, "bounced", "pages"),
)
"""In the order in which they are shown."""

_SCALES = ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs"))


def figures_of(verdict: Verdict | None, evidence: Mapping[str, Any]) -> dict[str, float]:
    """``bounced_pages`` and ``copied_bytes`` of a share; absent where the evidence does not tell.

    Copied are the pages that swiotlb bounced, a frame for each transfer that the VMM's trace saw, and where
    neither explains a copy, every byte of the frames: they reached the reader without having been mapped.
    A share that is neither zero-copy nor copied says nothing about bytes.
    """
    found: dict[str, float] = {}
    bounced = _count(evidence.get("bounced"))
    if bounced is not None:
        found["bounced_pages"] = float(bounced)
    if verdict is Verdict.ZERO_COPY:
        found["copied_bytes"] = 0.0
    elif verdict is Verdict.COPIED:
        listed = evidence.get("frames")
        frames = listed if isinstance(listed, list) else []
        sizes = [_count(frame.get("bytesused")) or 0 for frame in frames if isinstance(frame, Mapping)]
        copies = evidence.get("copies")
        transfers = len(copies) * max(sizes, default=0) if isinstance(copies, list) else 0
        found["copied_bytes"] = float(PAGE * (bounced or 0) + transfers or sum(sizes))
    return found


def _count(value: Any) -> int | None:
    """``value`` where it is a count; evidence may have any shape."""
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def scale_of(figure: Figure, value: float) -> tuple[float, str]:
    """Divisor and unit in which a row whose typical value is ``value`` reads well."""
    if figure.kind is Kind.TIME:
        for scale, unit in _SCALES:
            if value >= scale:
                return scale, unit
        return _SCALES[-1]
    if figure.key.endswith("_bytes"):
        return (1024.0, "KiB") if value >= 10 * 1024 else (1.0, "B")
    return 1.0, figure.unit


def digits(value: float, significant: int = 3) -> str:
    """``value`` with so many significant digits and no exponent: ``2.45``, ``312``, ``0.31``."""
    if value == 0 or not math.isfinite(value):
        return "0" if value == 0 else "?"
    if value == int(value) and abs(value) < 1e6:
        return str(int(value))
    places = max(significant - 1 - math.floor(math.log10(abs(value))), 0)
    return f"{value:.{min(places, 9)}f}"
