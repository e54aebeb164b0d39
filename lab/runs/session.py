"""One pytest session on one board: opens the lab, plans the cells, writes one result per attempt."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import pytest

from lab.base import yamlfile
from lab.base.ids import new_id
from lab.base.words import IommuMode, Status
from lab.results.expectations import Expectation, Expectations
from lab.results.figures import figures_of
from lab.results.log import ResultLog
from lab.results.model import Cell, Result, Run
from lab.runs.beside import Beside
from lab.runs.events import EventWriter
from lab.runs.lab import Lab
from lab.runs.record import ATTEMPT, RETRIES, Attempt, note_phase, params
from lab.sharing import PATHS

SESSION = pytest.StashKey["Session"]()


def is_target(env: Path) -> bool:
    """Whether a labgrid environment is one of our targets: it then names its SoC."""
    data, _ = yamlfile.read(env)
    return isinstance(data, dict) and "soc" in data


class Session:
    """What the plugin's hooks and fixtures share."""

    def __init__(
        self,
        lab: Lab,
        modes: Sequence[IommuMode],
        *,
        run: str = "",
        results: Path | None = None,
        events: EventWriter | None = None,
        vmm: Sequence[str] = (),
        only: Sequence[tuple[str, str, int]] | None = None,
        retries: int | None = None,
        planned: bool = False,
        planning: bool = False,
    ) -> None:
        """``vmm``: what ``lab run --vmm`` was given, for the commands that repeat a cell.

        ``only``: IOMMU mode and test of the cells to measure, with the attempts that they have behind
        them; None: all that are collected. ``retries``: how often a MISS is tried again here.
        ``planned``: the cells are written down already. ``planning``: they are, and nothing else is done.
        """
        self.planning = planning
        self._planned = planned
        self.lab = lab
        self.retries = RETRIES if retries is None else retries
        self._vmm = vmm
        self._tried = None if only is None else {(mode, test): tries for mode, test, tries in only}
        self.target = lab.target
        self.modes = list(modes)
        self.run = run or new_id()
        self.events = events or EventWriter(None)
        self.beside = Beside()
        self._expectations = Expectations()
        self._results = results
        self._log: ResultLog | None = None

    def plan(self, items: Sequence[pytest.Item]) -> None:
        """Write down which cells this session sets out to measure."""
        self.beside.plan(items)
        for item in items:
            if (known := self._known(item)) and known.kind == "skip":
                item.add_marker(pytest.mark.skip(reason=f"{known.reason} ({known.link})"))
        cells = tuple(self.cell(item) for item in items if "iommu_mode" in params(item))
        if self._results is not None:
            run = Run(id=self.run, started=datetime.now(UTC), planned=cells)
            if self._results.exists():
                self._log = ResultLog(self._results)
                if not self._planned:
                    self._log.plan(run)
            else:
                self._log = ResultLog.create(self._results, run)
        self.events.emit(
            "plan", target=self.target.name, cells=len(cells), modes=[str(m) for m in self.modes]
        )

    def wants(self, item: pytest.Item) -> bool:
        """Whether ``item`` is among the cells to measure."""
        if self._tried is None:
            return True
        mode = params(item).get("iommu_mode")
        return mode is not None and (str(mode), test_name(item)) in self._tried

    def cell(self, item: pytest.Item) -> Cell:
        """The cell that a collected test measures."""
        found = params(item)
        allocator = found.get("allocator")
        decoder = found.get("decoder")
        mark = item.get_closest_marker("path")
        row = PATHS[mark.args[0]] if mark else allocator
        return Cell(
            test=test_name(item),
            target=self.target.name,
            iommu=found["iommu_mode"],
            suite=_suite(item),
            soc=self.target.soc,
            allocator=row.name if row else "",
            path=row.title if row else "",
            decoder=decoder.name if decoder else "",
        )

    def begin(self, item: pytest.Item) -> None:
        """An attempt at ``item`` begins."""
        previous = item.stash.get(ATTEMPT, None)
        mode = str(params(item).get("iommu_mode", ""))
        before = (self._tried or {}).get((mode, test_name(item)), 0)
        number = previous.number + 1 if previous else before + 1
        item.stash[ATTEMPT] = Attempt(number=number, before=before)
        if mode:
            self.events.emit("begin", test=test_name(item), iommu=mode, attempt=number)

    def phase(self, item: pytest.Item, call: pytest.CallInfo[None]) -> None:
        """A phase of the attempt ended; with teardown its result is written."""
        attempt = item.stash[ATTEMPT]
        note_phase(attempt, call)
        if call.when != "teardown" or "iommu_mode" not in params(item):
            return
        result = self._result(item, attempt)
        if self._log is not None:
            self._log.write(result)
        lost = self.lab.holding is not None and bool(self.lab.holding.lost)
        again = result.status is Status.MISS and attempt.number - attempt.before <= self.retries
        self.events.emit(
            "result",
            test=result.test,
            iommu=str(result.iommu_asked),
            status=str(result.status),
            attempt=attempt.number,
            reason=result.reason,
            retried=again and not lost,
        )
        if lost:
            item.session.shouldfail = self.lab.holding.lost if self.lab.holding else ""

    def _known(self, item: pytest.Item) -> Expectation | None:
        """What the expectation files say of the cell that ``item`` measures."""
        mode = params(item).get("iommu_mode")
        if mode is None:
            return None
        place = self.lab.place or ""
        test, target, soc = test_name(item), self.target.name, self.target.soc
        return self._expectations.of(soc=soc, target=target, place=place, iommu=mode, test=test)

    def _result(self, item: pytest.Item, attempt: Attempt) -> Result:
        cell = self.cell(item)
        image = self.lab.image
        return Result(
            run=self.run,
            test=cell.test,
            target=cell.target,
            iommu_asked=cell.iommu,
            status=attempt.status,
            started=attempt.started,
            attempt=attempt.number,
            place=self.lab.place,
            soc=cell.soc,
            suite=cell.suite,
            allocator=cell.allocator,
            importer=attempt.importer,
            path=cell.path,
            decoder=cell.decoder,
            iommu_verified=attempt.iommu_verified,
            verdict=attempt.verdict,
            expected=attempt.expected,
            expected_errno=attempt.expected_errno,
            expected_reason=attempt.expected_reason,
            errno=attempt.errno,
            reason=attempt.reason,
            reasons=attempt.reasons,
            duration=attempt.duration,
            evidence=attempt.evidence,
            metrics={**figures_of(attempt.verdict, attempt.evidence), **attempt.metrics},
            log="\n".join(part for part in (attempt.log, attempt.detail) if part),
            repeat=self.repeat(cell),
            image=image.digest,
            kernel=self._kernel(attempt),
            environment={**attempt.environment, **({"own": words} if (words := image.own_words) else {})},
            vmm=attempt.environment.get("vmm", ""),
            expectation=known.as_dict() if (known := self._known(item)) else {},
        )

    def _kernel(self, attempt: Attempt) -> str:
        """The kernel's release; with its digest where it is one's own: two builds may have one release."""
        own = self.lab.image.own.get("kernel") if attempt.kernel else None
        return f"{attempt.kernel} {own['digest'][:7]}" if own else attempt.kernel

    def repeat(self, cell: Cell) -> str:
        """The command that measures ``cell`` again."""
        test, _, rest = cell.test.rpartition("::")[2].partition("[")
        words = " and ".join([test, *filter(None, (cell.decoder, cell.allocator))])
        if rest and not cell.allocator:
            words = f"{test}[{rest}" if not cell.decoder else words
        command = ["lab", "run", cell.suite, "--target", cell.target, "--iommu", str(cell.iommu), "-k", words]
        command += [word for setting in self._vmm for word in ("--vmm", setting)]
        command += self.lab.own.options() if self.lab.own else []
        return shlex.join(command)


def _suite(item: pytest.Item) -> str:
    """The folder of the test below ``suites/``."""
    return item.path.parent.name


def test_name(item: pytest.Item) -> str:
    """The pytest node id without its IOMMU mode: the same test has the same name in every mode."""
    name, bracket, identity = item.nodeid.partition("[")
    mode = params(item).get("iommu_mode")
    if not bracket or mode is None:
        return item.nodeid
    rest = [part for part in _split_id(identity.removesuffix("]"), str(mode)) if part]
    return f"{name}[{'-'.join(rest)}]" if rest else name


def _split_id(identity: str, mode: str) -> list[str]:
    """The parameter id without ``mode``, which stands at its start, its end or between hyphens."""
    if identity == mode:
        return []
    if identity.startswith(mode + "-"):
        return [identity[len(mode) + 1 :]]
    if identity.endswith("-" + mode):
        return [identity[: -len(mode) - 1]]
    before, _, after = identity.partition(f"-{mode}-")
    return [before, after]
