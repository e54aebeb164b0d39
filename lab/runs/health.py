"""Is a place of the lab fit for runs? Its board is booted, and one cell of it is known to be good."""

from __future__ import annotations

from datetime import UTC, datetime

from lab.base.errors import LabError
from lab.base.words import Status
from lab.boards import load_target
from lab.places import Health, Place, Session
from lab.results.folder import RunFolder
from lab.results.log import ResultLog, read
from lab.results.model import Result
from lab.results.places import Ended, HealthRecord, LeaseRecord
from lab.runs.launch import BoardProcess, Listener
from lab.runs.request import Request, find_suites

SUITE = "board"
KNOWN_GOOD = "test_decoder_writes_into and mmap"
"""Each decoder writes into memory of its own: nothing is imported, so every SoC must be able to."""


def request_for(target: str, run: str, folder: RunFolder, command: str) -> Request:
    """What is run on a board of ``target``: the known-good cell, in the first of its default modes."""
    return Request(
        id=run,
        suites=find_suites([SUITE]),
        targets=(target,),
        iommu=str(load_target(target).default_modes[0]),
        keyword=KNOWN_GOOD,
        command=command,
        results=folder.path.parent,
        leased=True,
    )


def check(
    session: Session, place: Place, request: Request, folder: RunFolder, *, wait: float, listen: Listener
) -> HealthRecord:
    """Try ``place`` out, set its health, and write down both.

    Raises LabError where it is not free within ``wait`` seconds, or was lost under the check, and then
    nothing is said of it; ConfigError as `lab.runs.launch.BoardProcess.ready`.
    """
    [target] = request.targets
    soc = load_target(target).soc
    with BoardProcess(request, target, leased=True) as process:
        process.ready()
        asked = datetime.now(UTC)
        lease = session.reserve(
            {"name": place.name}, wait=wait, reason="lab health", healthy=False, on_lost=process.lost
        )
        since = datetime.now(UTC)
        broke = ""
        with lease:
            try:
                process.go(folder.path, folder.log, listen, lease=lease)
            except LabError as error:
                broke = error.message
            results = list(read(folder.log).results)
            health, reason = judge(results, broke)
            lost = lease.lost_reason
            if not lost:  # before it is given back: the next one in the queue must not get a sick board
                session.set_health(place.name, health, reason)
        with ResultLog(folder.log) as log:
            log.note(
                LeaseRecord(
                    run=request.id,
                    place=place.name,
                    target=target,
                    soc=soc,
                    holder=lease.holder,
                    asked=asked,
                    since=since,
                    until=datetime.now(UTC),
                    ended=Ended.LOST if lost else Ended.RELEASED,
                    reason=lost,
                    cells=len(results),
                )
            )
            if lost:
                raise LabError(f"{place.name}: {lost}", hint="try again")
            record = HealthRecord(
                run=request.id,
                place=place.name,
                target=target,
                soc=soc,
                started=since,
                duration=(datetime.now(UTC) - since).total_seconds(),
                health=health.value,
                reason=reason,
            )
            log.note(record)
        return record


def judge(results: list[Result], broke: str = "") -> tuple[Health, str]:
    """What all attempts at the known-good cells say: the last attempt at each counts. ``broke``: pytest."""
    last = {result.key: result for result in sorted(results, key=lambda one: one.attempt)}
    for status in (Status.MISS, Status.FAIL, Status.ERROR):
        for result in last.values():
            if result.status is status:
                return Health.QUARANTINED, f"{status}: {result.reason.partition(chr(10))[0]}"
    if not last:
        return Health.QUARANTINED, broke or "nothing could be measured"
    again = sum(result.status is Status.MISS for result in results)
    return Health.HEALTHY, f"{again} MISS before it passed" if again else ""
