"""One job on places of a lab: wait for a board, run the suites, and try a MISS again on another board."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, Protocol

from lab.base.errors import LabError
from lab.base.words import Status
from lab.boards.target import load_target
from lab.places import Health, Lease, Session, Waiting
from lab.results.folder import RunFolder
from lab.results.log import ResultLog, read
from lab.results.outcome import Outcome
from lab.results.places import Ended, HealthRecord, LeaseRecord
from lab.runs import misses
from lab.runs.crew import Crew
from lab.runs.jobs import Job
from lab.runs.launch import BoardProcess, Listener
from lab.runs.record import RETRIES
from lab.runs.request import Request

ANOTHER = 600.0
"""Seconds to wait at most for another board, for what the first one missed."""

Cells = list[tuple[str, str, int]]
"""IOMMU mode, test, attempts so far."""


class Watcher(Protocol):
    """Who hears what becomes of a job."""

    def waiting(self, waiting: Waiting) -> None:
        """It waits for a board, and where it stands."""

    def place(self, name: str, waited: float) -> None:
        """It got a board after ``waited`` seconds."""

    def lost(self, place: str, reason: str) -> None:
        """Its board is somebody else's."""

    def again(self, cells: int, place: str) -> None:
        """``cells`` cells are tried again, on another board than ``place``."""

    def quarantined(self, place: str, reason: str) -> None:
        """A place gets no more runs until somebody has looked at it."""

    def listen(self, event: dict[str, Any]) -> None:
        """An event of the board's process (`lab.runs.session` and `lab.runs.lab` send them)."""


class LeasedJob:
    """A job with a lease for each of its boards, one after the other."""

    def __init__(
        self, job: Job, request: Request, session: Session, folder: RunFolder, crew: Crew, watcher: Watcher
    ) -> None:
        self._job = job
        self._request = request
        self._session = session
        self._folder = folder
        self._crew = crew
        self._watcher = watcher
        self._soc = load_target(job.target).soc
        self._lost = ""
        self._place = ""

    def run(self) -> None:
        """Do it. Raises LabError where no board could be had, or pytest broke; ConfigError as `check`."""
        begin = time.monotonic()
        broken: LabError | None = None
        try:
            with self._process() as process, ThreadPoolExecutor(1) as aside:
                plan = aside.submit(process.plan, self._folder.path, self._folder.log, self._watcher.listen)
                self._on_a_board(process, self._request.wait, None, (), plan)
        except LabError as error:
            broken = error
        place, left = self._place, self._left()
        others = self._others(place) if place else []
        # Without another board its process has tried again already, on the only one there is.
        if not place or not left or not (others or self._lost) or self._crew.ended.is_set():
            if broken is not None:
                raise broken
            return
        self._watcher.again(len(left), place)
        wait = self._request.wait
        rest = ANOTHER if wait is None else min(ANOTHER, max(wait - (time.monotonic() - begin), 0.0))
        with self._process() as process:
            self._on_a_board(process, rest, left, (place,) if others else ())

    @contextmanager
    def _process(self) -> Iterator[BoardProcess]:
        with self._crew.process(BoardProcess(self._request, self._job.target, leased=True)) as process:
            process.ready()
            yield process

    def _on_a_board(
        self,
        process: BoardProcess,
        wait: float | None,
        only: Cells | None,
        exclude: tuple[str, ...],
        plan: Future[None] | None = None,
    ) -> None:
        """Get a board, and run on it when ``plan`` is done."""
        asked = datetime.now(UTC)
        assert self._job.filters is not None

        def on_wait(waiting: Waiting) -> None:
            self._crew.check()
            self._watcher.waiting(waiting)

        def on_lost(reason: str) -> None:
            self._lost = reason
            process.lost(reason)

        self._lost = ""
        lease = self._session.reserve(
            self._job.filters,
            wait=wait,
            reason=f"lab run {self._request.id}",
            priority=self._request.priority,
            exclude=exclude,
            on_wait=on_wait,
            on_lost=on_lost,
        )
        since = datetime.now(UTC)
        self._place = lease.place
        count = _Count(self._watcher.listen)
        try:
            with lease:
                self._crew.check()
                self._watcher.place(lease.place, (since - asked).total_seconds())
                if plan is not None:
                    plan.result()
                retries = RETRIES if only is None and not self._others(lease.place) else 0
                process.go(
                    self._folder.path,
                    self._folder.log,
                    count,
                    lease=lease,
                    only=only,
                    retries=retries,
                    planned=True,
                )
        finally:
            self._close(lease, asked, since, count)

    def _close(self, lease: Lease, asked: datetime, since: datetime, count: _Count) -> None:
        """Write down what became of a lease, and what it says about its place."""
        if self._lost:
            self._watcher.lost(lease.place, self._lost)
        lease_record = LeaseRecord(
            run=self._request.id,
            place=lease.place,
            target=self._job.target,
            soc=self._soc,
            holder=lease.holder,
            asked=asked,
            since=since,
            until=datetime.now(UTC),
            ended=Ended.LOST if self._lost else Ended.RELEASED,
            reason=self._lost,
            cells=count.attempts,
        )
        with ResultLog(self._folder.log) as log:
            log.note(lease_record)
            if self._lost or self._crew.ended.is_set() or not count.attempts:
                return
            reason = misses.note(self._session, lease.place, missed=not count.judged, reason=count.last_miss)
            if reason:
                self._watcher.quarantined(lease.place, reason)
                log.note(
                    HealthRecord(
                        run=self._request.id,
                        place=lease.place,
                        target=self._job.target,
                        soc=self._soc,
                        started=datetime.now(UTC),
                        health=Health.QUARANTINED.value,
                        reason=reason,
                    )
                )

    def _left(self) -> Cells:
        """The cells of the job that no board has measured."""
        contents = read(self._folder.log)
        outcome = Outcome.of(contents.results, contents.run)
        return [
            (str(cell.iommu_asked), cell.test, outcome.attempts[cell.key])
            for cell in outcome.cells
            if cell.target == self._job.target and cell.status is Status.MISS
        ]

    def _others(self, place: str) -> list[str]:
        """Other boards that would do, free or not, as far as one can tell."""
        filters = self._job.filters or {}
        return [
            one.name
            for one in self._session.places()
            if one.name != place and one.satisfies(filters) and not one.unfit()
        ]


class _Count:
    """A listener that counts attempts on their way to another one."""

    def __init__(self, listen: Listener) -> None:
        self._listen = listen
        self.attempts = 0
        self.judged = 0
        self.last_miss = ""

    def __call__(self, event: dict[str, object]) -> None:
        if event["event"] == "result":
            self.attempts += 1
            if event["status"] == Status.MISS:
                self.last_miss = str(event["reason"]).partition("\n")[0]
            else:
                self.judged += 1
        self._listen(event)
