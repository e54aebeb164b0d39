"""What ran in the columns: a table that is pasted into a mail has to say of which kernel it speaks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from lab.results.compare.measured import Measured
from lab.results.compare.model import Column, Section
from lab.results.compare.words import names

IMAGE = 7
"""Digits of an image's digest, as `lab run` and `lab images` show it."""

LISTED = 2
"""This many values of one column are listed; of more, the first, the last and their number."""

_FACTS: dict[str, Callable[[Measured], str]] = {
    "kernel": lambda item: item.kernel,
    "VMM": lambda item: item.vmm,
    "image": lambda item: item.image[:IMAGE],
    "measured": lambda item: f"{item.started:%Y-%m-%d}",
}
_COMPARED = {"kernel": "kernel", "vmm": "VMM", "date": "measured"}


def ran(by: str, columns: Sequence[Column], sections: Sequence[Section]) -> tuple[str, ...]:
    """Kernel, VMM, image and day of what is shown: said once where all columns have the same.

    What the columns are (``by``) is not said again.
    """
    shown = [_shown(number, sections) for number in range(len(columns))]
    same: list[str] = []
    apart: list[str] = []
    for name, fact in _FACTS.items():
        if _COMPARED.get(by) == name:
            continue
        told: dict[str, list[int]] = {}
        for number, items in enumerate(shown):
            if text := _listed({fact(item) for item in items} - {""}):
                told.setdefault(text, []).append(number)
        if len(told) == 1:
            same.append(f"{name} {next(iter(told))}")
        elif told:
            parts = [f"{text} ({', '.join(names(columns, numbers))})" for text, numbers in told.items()]
            apart.append(f"{name} {'; '.join(parts)}")
    return (*([", ".join(same)] if same else []), *apart)


def _shown(number: int, sections: Sequence[Section]) -> list[Measured]:
    return [
        attempts.shown
        for section in sections
        for line in section.lines
        if (entry := line.entries[number]) is not None and not entry.missing
        for attempts in entry.tests.values()
    ]


def _listed(found: Iterable[str]) -> str:
    values = sorted(found)
    if len(values) <= LISTED:
        return ", ".join(values)
    return f"{values[0]} to {values[-1]} ({len(values)})"
