"""Why the columns of a row differ: for each the constraint that the model recorded, or that there is none."""

from __future__ import annotations

from collections.abc import Sequence

from lab.base.words import IommuMode, Status, Verdict
from lab.results.compare.constraints import explained
from lab.results.compare.measured import Measured, look
from lab.results.compare.model import Entry, Reason
from lab.results.look import Standing, errno_name

NO_MODEL = "no constraint is recorded for this verdict"

BROKE = 160
"""Characters of what a broken test says."""


def explain(entries: Sequence[Entry | None]) -> tuple[Standing, tuple[Reason, ...]]:
    """How the row stands, and the reasons of its columns where they differ, the gravest first.

    What the lab broke is not compared: such a row is incomplete, whatever else it is.
    """
    present = [(number, entry) for number, entry in enumerate(entries) if entry is not None]
    measured = [(number, entry) for number, entry in present if not entry.missing]
    missing = [
        Reason((number,), f"missing: {_line(entry.shown.reason)}", Standing.INCOMPLETE)
        for number, entry in present
        if entry.missing
    ]
    if len({entry.signature for _, entry in measured}) < 2:
        return (Standing.INCOMPLETE if missing else Standing.SAME), _joined(missing)
    across = len({_translates(entry.shown.iommu_asked) for _, entry in measured}) > 1
    found = [(number, entry, *_why(entry, across=across)) for number, entry in measured]
    clashing = _clashing([(text, entry) for _, entry, text, _ in found])
    reasons = [
        Reason((number,), text, Standing.UNEXPLAINED if not known or text in clashing else Standing.EXPLAINED)
        for number, _, text, known in found
    ]
    unexplained = any(reason.standing is Standing.UNEXPLAINED for reason in reasons)
    order = {number: entry.shown.verdict is Verdict.ZERO_COPY for number, entry in measured}
    reasons.sort(key=lambda reason: (reason.standing is not Standing.UNEXPLAINED, order[reason.columns[0]]))
    return (Standing.UNEXPLAINED if unexplained else Standing.EXPLAINED), _joined([*reasons, *missing])


def _why(entry: Entry, *, across: bool) -> tuple[str, bool]:
    """What explains an entry, and whether it does."""
    shown = entry.shown
    if shown.status is Status.ERROR:
        return f"the test broke: {_shortened(_line(shown.reason))}", False
    if shown.status is Status.SKIP:
        return _line(shown.reason) or "does not apply here", True
    if known := _known(shown):
        return known, entry.as_expected
    if not entry.as_expected:
        return _unexpected(shown), False
    if shown.verdict is None:
        return _line(shown.reason) or look(shown).word, False
    text = explained(shown.expected_reason, shown.iommu_asked, across_modes=across)
    if not text:
        return NO_MODEL, False
    name = errno_name(shown.errno) if shown.verdict is Verdict.REFUSED else ""
    return (f"{text} ({name})" if name and name not in text else text), True


def _known(shown: Measured) -> str:
    """What the expectation files say of a failure; empty where they say nothing."""
    said = shown.expectation
    if not said or shown.status is not Status.FAIL:
        return ""
    words = said.get("reason") or "known to fail"
    link = said.get("link", "")
    return f"{words} ({link})" if link else words


def _unexpected(shown: Measured) -> str:
    """The line that matters of a result that is not as expected, with what was expected."""
    found = _line(shown.reason) or look(shown).word
    if shown.expected is None:
        return found
    errno = errno_name(shown.expected_errno)
    wanted = f"expected {shown.expected}" + (f" ({errno})" if errno else "")
    parts = [found] if f"expected {shown.expected}" in found else [f"{look(shown).word}, {wanted}", found]
    why = f" (the model: {shown.expected_reason})" if shown.expected_reason else ""
    return ": ".join(dict.fromkeys(part for part in parts if part != look(shown).word)) + why


def _clashing(found: Sequence[tuple[str, Entry]]) -> set[str]:
    """Sentences that are given for two different outcomes: they explain neither."""
    said: dict[str, set[frozenset[tuple[str, int | None]]]] = {}
    for text, entry in found:
        said.setdefault(text, set()).add(entry.signature)
    return {text for text, signatures in said.items() if len(signatures) > 1}


def _joined(reasons: Sequence[Reason]) -> tuple[Reason, ...]:
    """One reason for all columns that have the same."""
    found: dict[tuple[str, Standing], list[int]] = {}
    for reason in reasons:
        found.setdefault((reason.text, reason.standing), []).extend(reason.columns)
    return tuple(
        Reason(tuple(sorted(columns)), text, standing) for (text, standing), columns in found.items()
    )


def _translates(mode: IommuMode) -> bool:
    return mode in (IommuMode.TRANSLATED, IommuMode.LAZY)


def _shortened(text: str) -> str:
    """An exception may have whole objects in its message."""
    return text if len(text) <= BROKE else f"{text[:BROKE].rstrip()} …"


def _line(text: str) -> str:
    return text.partition("\n")[0].strip()
