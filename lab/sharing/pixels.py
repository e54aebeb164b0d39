"""The consumer's pixels against the references."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lab.sharing.evidence import FrameRead


@dataclass(frozen=True)
class Pixels:
    """The sum over all frames.

    ``wanted`` and ``seen`` count frames. Bytes: ``compared``, ``different``, and ``untouched``: different
    ones that still hold the canary. ``error_flags``: frames that the driver marked as bad.
    ``first_wrong``: index of a frame. ``stale``: that frame shows the picture of this index instead.
    """

    wanted: int
    seen: int
    compared: int = 0
    different: int = 0
    untouched: int = 0
    error_flags: int = 0
    first_wrong: int | None = None
    stale: int | None = None

    @property
    def right(self) -> bool:
        """Every frame came, once, unmarked, and exact."""
        return self.wanted == self.seen and not self.error_flags and self.first_wrong is None

    @property
    def arrived_right(self) -> bool:
        """No frame that came is wrong, though some may not have come."""
        return self.seen <= self.wanted and not self.error_flags and self.first_wrong is None


def compare(
    frames: Sequence[FrameRead], references: Sequence[bytes], canary: int | None, tolerance: int
) -> Pixels:
    """Hold ``frames`` against ``references``, in order; bytes behind a reference's end are padding.

    ``tolerance``: by how much a byte may be off before it counts as different.
    """
    compared = different = untouched = 0
    wrong = []
    for position, (frame, reference) in enumerate(zip(frames, references, strict=False)):
        compared += len(reference)
        differs = _differences(frame.data, reference, tolerance)
        if differs:
            different += differs
            if canary is not None:
                untouched += _untouched(frame.data, reference, canary, tolerance)
        if differs or frame.bytesused < len(reference) or frame.index != position:
            wrong.append(position)
    stale = None
    if wrong:
        shown = frames[wrong[0]].data
        others = (index for index, other in enumerate(references) if index != wrong[0])
        stale = next(
            (index for index in others if shown[: len(references[index])] == references[index]), None
        )
    return Pixels(
        wanted=len(references),
        seen=len(frames),
        compared=compared,
        different=different,
        untouched=untouched,
        error_flags=sum(frame.error_flag for frame in frames),
        first_wrong=wrong[0] if wrong else None,
        stale=stale,
    )


def looks_like(data: bytes, value: int, tolerance: int) -> bool:
    """Every byte of ``data`` is ``value``, or off by no more than ``tolerance``."""
    return not data.translate(None, delete=_near(value, tolerance))


def _near(value: int, tolerance: int) -> bytes:
    return bytes(range(max(value - tolerance, 0), min(value + tolerance, 255) + 1))


def _differences(data: bytes, reference: bytes, tolerance: int) -> int:
    """How many bytes of ``reference`` are not the same in ``data``; those that ``data`` lacks count too."""
    if data[: len(reference)] == reference:
        return 0
    length = min(len(data), len(reference))
    if tolerance:
        close = sum(abs(a - b) <= tolerance for a, b in zip(data, reference, strict=False))
        return len(reference) - close
    mixed = int.from_bytes(data[:length]) ^ int.from_bytes(reference[:length])
    return len(reference) - mixed.to_bytes(length).count(0)


def _untouched(data: bytes, reference: bytes, canary: int, tolerance: int) -> int:
    """How many bytes hold the canary where ``reference`` does not."""
    length = min(len(data), len(reference))
    here = int.from_bytes(data[:length].translate(_marking(bytes([canary]))))
    there = int.from_bytes(reference[:length].translate(_marking(_near(canary, tolerance))))
    return (here & ~there).bit_count()


def _marking(values: bytes) -> bytes:
    """A table for ``bytes.translate``: 1 for each of ``values``, else 0."""
    return bytes(value in values for value in range(256))
