"""Which column a result belongs to, in which context, and what the names on the command line mean."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from lab.base.errors import ConfigError
from lab.base.words import IommuMode
from lab.results.compare.measured import Measured
from lab.results.compare.model import Column
from lab.results.look import MODES

DIMENSIONS: dict[str, Callable[[Measured], str]] = {
    "target": lambda item: item.target,
    "soc": lambda item: item.soc or item.target,
    "run": lambda item: item.run,
    "iommu": lambda item: str(item.iommu_asked),
    "kernel": lambda item: item.kernel,
    "vmm": lambda item: item.vmm,
    "date": lambda item: item.started.strftime("%Y-%m-%d"),
    "board": lambda item: item.place,
}
"""What can be compared -> the value of it that a result has. Names are looked up in this order."""

BOARDS = ("target", "soc", "board")
"""Comparisons of boards: every one is looked at in a mode of its own; others compare like with like."""

WIDEST, ALL = "widest", "all"
"""Of a board's IOMMU modes: that which translates most, or each in a column of its own."""


Mode = tuple[str, IommuMode]
"""A target, or where boards are compared a board, and a mode in which it was measured."""


@dataclass(frozen=True, slots=True)
class Layout:
    """``columns`` with the results of each; ``left_out``: IOMMU modes not shown, by board."""

    columns: tuple[Column, ...]
    results: tuple[tuple[Measured, ...], ...]
    left_out: Mapping[str, tuple[IommuMode, ...]]


def dimension_of(names: Sequence[str], known: Mapping[str, Iterable[str]]) -> str:
    """What ``names`` are: the first dimension that knows all of them. ``known``: values of each.

    Raises ConfigError with the nearest names where none does.
    """
    if not names:
        return "target"
    for by, values in known.items():
        if all(any(matches(by, name, value) for value in values) for name in names):
            return by
    everything = {value for values in known.values() for value in values if value}
    for name in names:
        if not any(matches(by, name, value) for by, values in known.items() for value in values):
            near = difflib.get_close_matches(name, everything, n=3, cutoff=0.5)
            hint = f"did you mean {' or '.join(near)}?" if near else _offer(known)
            raise ConfigError(f"nothing was measured under the name '{name}'", hint=hint)
    raise ConfigError(
        f"{', '.join(names)} are not of one kind", hint="say which by --by, and the rest by --target, --iommu"
    )


def matches(by: str, name: str, value: str) -> bool:
    """Whether ``name`` means ``value``: runs may be named by their beginning."""
    return bool(value) and (value == name or (by == "run" and value.startswith(name)))


def lay_out(
    found: Sequence[Measured], by: str, names: Sequence[str], iommu: str, besides: Collection[Mode] = ()
) -> Layout:
    """The columns for ``names`` in that order; without any, all that there are.

    ``iommu`` (of boards only): `WIDEST`, `ALL`, or a mode. ``besides``: what was measured and is not in
    ``found``.
    """
    value = DIMENSIONS[by]
    values = list(names) or _natural(by, {value(item) for item in found} - {""})
    columns: list[Column] = []
    results: list[tuple[Measured, ...]] = []
    left_out: dict[str, tuple[IommuMode, ...]] = {}
    parts: dict[str, list[Measured]] = {}
    for item in found:
        parts.setdefault(value(item), []).append(item)
    for name in values:
        own = [item for key, part in parts.items() if matches(by, name, key) for item in part]
        for label, part in _boards(by, name, own):
            modes = [mode for mode in MODES if any(item.iommu_asked is mode for item in part)]
            if by not in BOARDS:
                columns.append(Column(label))
                results.append(tuple(part))
                continue
            wanted = modes if iommu == ALL else modes[:1] if iommu == WIDEST else [IommuMode(iommu)]
            for mode in wanted:
                columns.append(Column(label, str(mode)))
                results.append(tuple(item for item in part if item.iommu_asked is mode))
            own_names = {label} if by == "board" else {item.target for item in part}
            others = {mode for board, mode in besides if board in own_names} | set(modes[1:])
            if iommu == WIDEST and others:
                left_out[label] = tuple(mode for mode in MODES if mode in others)
    return Layout(tuple(columns), tuple(results), left_out)


def contexts(by: str, item: Measured) -> str:
    """Which section a result belongs to: all that tells it from others but the column."""
    if by in BOARDS:
        return ""
    return item.target if by == "iommu" else f"{item.target} {item.iommu_asked}"


def _boards(by: str, name: str, own: Sequence[Measured]) -> list[tuple[str, list[Measured]]]:
    """A SoC with several kinds of boards is a column for each."""
    if by == "run":
        return [(own[0].run if own else name, list(own))]
    if by != "soc":
        return [(name, list(own))]
    targets = sorted({item.target for item in own})
    if len(targets) < 2:
        return [(name, list(own))]
    return [(target, [item for item in own if item.target == target]) for target in targets]


def _natural(by: str, values: Iterable[str]) -> list[str]:
    if by == "iommu":
        return [str(mode) for mode in MODES if mode in values]
    return sorted(values)


def _offer(known: Mapping[str, Iterable[str]]) -> str:
    targets = sorted(value for value in known.get("target", ()) if value)
    return f"there are {', '.join(targets[:12])}" if targets else "lab run measures something"
