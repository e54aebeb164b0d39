"""What a comparison looks at of one attempt at a cell, and which of several attempts count."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol, Self

from lab.base.words import IommuMode, Status, Verdict
from lab.results.figures import Figure, Kind
from lab.results.look import Look, look_of

_WORKED = (None, Verdict.ZERO_COPY, Verdict.COPIED)


class Measured(Protocol):
    """One attempt: a `lab.results.model.Result`, or a light row of the store, which has the same names."""

    @property
    def run(self) -> str: ...  # noqa: D102
    @property
    def test(self) -> str: ...  # noqa: D102
    @property
    def target(self) -> str: ...  # noqa: D102
    @property
    def iommu_asked(self) -> IommuMode: ...  # noqa: D102
    @property
    def status(self) -> Status: ...  # noqa: D102
    @property
    def started(self) -> datetime: ...  # noqa: D102
    @property
    def attempt(self) -> int: ...  # noqa: D102
    @property
    def soc(self) -> str: ...  # noqa: D102
    @property
    def place(self) -> str: ...  # noqa: D102
    @property
    def suite(self) -> str: ...  # noqa: D102
    @property
    def allocator(self) -> str: ...  # noqa: D102
    @property
    def path(self) -> str: ...  # noqa: D102
    @property
    def decoder(self) -> str: ...  # noqa: D102
    @property
    def verdict(self) -> Verdict | None: ...  # noqa: D102
    @property
    def errno(self) -> int | None: ...  # noqa: D102
    @property
    def reason(self) -> str: ...  # noqa: D102
    @property
    def expected(self) -> Verdict | None: ...  # noqa: D102
    @property
    def expected_errno(self) -> int | None: ...  # noqa: D102
    @property
    def expected_reason(self) -> str: ...  # noqa: D102
    @property
    def expectation(self) -> dict[str, str]: ...  # noqa: D102
    @property
    def as_expected(self) -> bool: ...  # noqa: D102
    @property
    def image(self) -> str: ...  # noqa: D102
    @property
    def kernel(self) -> str: ...  # noqa: D102
    @property
    def vmm(self) -> str: ...  # noqa: D102
    @property
    def metrics(self) -> dict[str, float]: ...  # noqa: D102


def look(item: Measured) -> Look:
    """Word, symbol and colour."""
    return look_of(item.status, item.verdict)


def software(item: Measured) -> tuple[str, str, str]:
    """What ran: only attempts with the same are samples of the same thing."""
    return item.image, item.kernel, item.vmm


def shares(item: Measured) -> bool:
    """Whether it is a row of the sharing matrix, and not a test that shares nothing."""
    return bool(item.path or item.allocator)


@dataclass(frozen=True, slots=True)
class Attempts:
    """One test in one column: ``shown`` is what counts, ``samples`` are the attempts alike in software.

    Newest first; what the lab broke is no sample. ``steady``: how many of the samples came out as the one
    shown; fewer than all, and the cell is flaky.
    """

    shown: Measured
    samples: tuple[Measured, ...]
    look: Look
    steady: int

    @classmethod
    def of(cls, found: Iterable[Measured]) -> Self:
        """From all attempts that there are, at least one. The last that the lab let through counts."""
        newest = sorted(found, key=lambda item: (item.started, item.run, item.attempt), reverse=True)
        judged = [item for item in newest if item.status is not Status.MISS]
        shown = (judged or newest)[0]
        own = software(shown)
        alike = tuple(item for item in judged if software(item) == own)
        looks = look(shown)
        return cls(shown, alike, looks, sum(look(item) == looks for item in alike))

    def figure(self, figure: Figure) -> list[float]:
        """The samples of a figure, oldest first.

        Times and rates are those of shares that worked: how soon a buffer is refused is another question.
        """
        return [
            item.metrics[figure.key]
            for item in reversed(self.samples)
            if figure.key in item.metrics and (figure.kind is Kind.COUNT or item.verdict in _WORKED)
        ]


def by_test(found: Sequence[Measured]) -> dict[str, Attempts]:
    """The attempts of each test among ``found``, in order of appearance."""
    groups: dict[str, list[Measured]] = {}
    for item in found:
        groups.setdefault(item.test, []).append(item)
    return {test: Attempts.of(items) for test, items in groups.items()}
