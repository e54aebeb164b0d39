"""Lease cycles on light places while clients, exporter, coordinator and janitor are killed (-9) at random.

    .venv/bin/python benchmarks/chaos.py [--cycles 100] [--places 4] [--seed 1]

What is killed and when follows from the seed. Checked, and printed:

- no place is ever driven by two holders: who drives holds a lock of the kernel on the place's file;
- a place is free, or someone else's, at most TTL + 20 s after its holder was killed;
- every result that a client said to have recorded is in the log;
- whatever else than success a client meets is a fault of the lab, recorded as MISS.
"""

from __future__ import annotations

import argparse
import contextlib
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from lab.base.errors import LabError
from lab.base.words import Status
from lab.places import Session, connect
from lab.results.log import ResultLog, read
from lab.results.model import Run
from tests.lightlab import DIE_WITH_US, LightLab, eventually

ALLOWED = 20.0
"""Seconds after the end of a dead holder's lease until which its place is to be free."""
VICTIMS = {"client": 5, "coordinator": 2, "exporter": 2, "janitor": 1, "lease": 1}
"""What is killed, and how often in proportion; a lease is ended by a kick."""


@dataclass
class Client:
    """One worker process, and what it has said."""

    process: subprocess.Popen[str]
    said: list[str] = field(default_factory=list)
    holds: tuple[str, str] | None = None  # place and holder

    def listen(self) -> None:
        """Take in what it says, until it ends."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            words = line.split()
            if words[0] == "took":
                self.holds = (words[1], words[2])
            elif words[0] == "left":
                self.holds = None
            self.said.append(line.strip())


@dataclass
class Death:
    """A client killed while it held a place. ``free_after``: seconds until that was no longer its own."""

    place: str
    holder: str
    at: float
    free_after: float | None = None


@dataclass
class Report:
    """What the chaos did and what was seen."""

    ttl: float
    seconds: float = 0.0
    killed: dict[str, int] = field(default_factory=lambda: dict.fromkeys(VICTIMS, 0))
    deaths: list[Death] = field(default_factory=list)
    statuses: dict[str, int] = field(default_factory=dict)
    survived: int = 0
    said_recorded: int = 0
    lost_results: list[str] = field(default_factory=list)
    two_drivers: list[str] = field(default_factory=list)
    strange: list[str] = field(default_factory=list)
    places_left: list[str] = field(default_factory=list)

    @property
    def limit(self) -> float:
        """The longest that it may, in seconds."""
        return self.ttl + ALLOWED

    @property
    def slowest(self) -> float:
        """The longest that a dead client kept a place, in seconds."""
        return max((death.free_after or self.limit * 9 for death in self.deaths), default=0.0)

    @property
    def faults(self) -> list[str]:
        """Every promise that was not kept; empty is what the bench is for."""
        found = [*self.two_drivers, *self.strange]
        found += [f"recorded, and not in the log: {line}" for line in self.lost_results]
        found += [f"still held at the end: {place}" for place in self.places_left]
        if self.slowest > self.limit:
            found.append(f"a place was free only {self.slowest:.1f} s after its holder died")
        return found

    def text(self) -> str:
        """For a person."""
        killed = ", ".join(f"{number} {name}" for name, number in self.killed.items())
        ended = ", ".join(f"{number} {status}" for status, number in sorted(self.statuses.items()))
        return "\n".join(
            [
                f"{sum(self.statuses.values())} lease cycles in {self.seconds:.0f} s: {ended}",
                f"killed: {killed}; {len(self.deaths)} of the clients while they held a place",
                f"cycles that went on through a restart of the coordinator: {self.survived}",
                f"slowest place to be free after that: {self.slowest:.1f} s ({self.limit:.0f} s allowed)",
                f"recorded {self.said_recorded} results, lost {len(self.lost_results)}; "
                f"two drivers on one place: {len(self.two_drivers)}",
                *(f"FAULT: {fault}" for fault in self.faults),
            ]
        )


class Chaos:
    """One run of it in ``folder``. ``ttl``: seconds of a lease without a heartbeat."""

    def __init__(self, folder: Path, *, cycles: int, places: int, seed: int, ttl: float = 6.0) -> None:
        self.folder = folder
        self.random = random.Random(seed)
        self.cycles = cycles
        self.names = [f"light-{number}" for number in range(1, places + 1)]
        self.report = Report(ttl)
        self.clients: list[Client] = []
        self.everyone: list[Client] = []
        self._watched: list[Death] = []
        self._restarts: list[datetime] = []

    def run(self, limit: float) -> Report:
        """All of it, within about ``limit`` seconds."""
        began = time.monotonic()
        log = self.folder / "results.jsonl"
        ResultLog.create(log, Run(id="chaos", started=datetime.now(UTC))).close()
        with (
            LightLab(self.folder / "lab", "lab.places.coordinator") as lab,
            connect(lab.address, user="chaos") as session,
        ):
            lab.add_places(session, *self.names)
            # Ours saves its places at its end, labgrid's own after 15 s: it could not be killed before.
            lab.kill("coordinator", signal.SIGTERM)
            lab.coordinator = "labgrid.remote.coordinator"
            lab.start_coordinator()
            lab.start_light_exporter(*self.names)
            lab.start_janitor()
            for _ in range(len(self.names) + 2):
                self._client(lab)
            eventually(lambda: any(client.holds for client in self.clients))
            while not self._enough() and time.monotonic() - began < limit:
                self._strike(lab, session)
                self._watch(session, self.random.uniform(0.3, 2.0))
            for client in self.clients:
                client.process.terminate()
            self._settle(session)
        self.report.seconds = time.monotonic() - began
        self._account(log)
        return self.report

    def _client(self, lab: LightLab) -> None:
        number = len(self.everyone)
        worker = Path(__file__).with_name("chaos_client.py")
        process = subprocess.Popen(
            [*DIE_WITH_US, sys.executable, str(worker), str(self.folder), str(self.report.ttl), str(number)],
            env={**lab.environment, "LG_USERNAME": f"job{number}"},
            text=True,
            stdout=subprocess.PIPE,
            stderr=(self.folder / f"client-{number}.log").open("w"),
        )
        client = Client(process)
        self.clients.append(client)
        self.everyone.append(client)
        threading.Thread(target=client.listen, daemon=True).start()

    def _strike(self, lab: LightLab, session: Session) -> None:
        victim = self.random.choices(list(VICTIMS), weights=list(VICTIMS.values()))[0]
        if self._done() >= self.cycles and (missing := self._missing()):
            victim = missing[0]
        pause = self.random.uniform(0.0, 1.5)
        self.report.killed[victim] += 1
        if victim == "client":
            holders = [client for client in self.clients if client.holds]
            client = self.random.choice(holders if holders and self.random.random() < 0.8 else self.clients)
            self.clients.remove(client)
            client.process.kill()
            client.process.wait(10)
            if client.holds:
                self._watched.append(Death(*client.holds, at=time.monotonic()))
            self._client(lab)
        elif victim == "lease":
            self.report.killed[victim] -= 1
            with contextlib.suppress(LabError):  # no coordinator just now
                held = [one.name for one in session.places() if one.acquired]
                if held and session.kick(self.random.choice(held), "chaos"):
                    self.report.killed[victim] += 1
        elif victim == "coordinator":
            self._restarts.append(datetime.now(UTC))
            lab.kill("coordinator")
            lab.kill("light")  # as it ends by itself then (status 100), for its supervisor to start again
            time.sleep(pause)
            lab.start_coordinator()
            lab.restart_exporter("light")
        elif victim == "exporter":
            lab.kill("light")
            time.sleep(pause)
            lab.restart_exporter("light")
        else:
            lab.kill("janitor")
            time.sleep(pause)
            lab.start_janitor()

    def _watch(self, session: Session, seconds: float) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            time.sleep(0.1)
            held = {one.name: one.acquired for one in session.places()} if session.online else None
            for death in list(self._watched):
                if held is None or held.get(death.place) != death.holder:
                    death.free_after = time.monotonic() - death.at
                    self.report.deaths.append(death)
                    self._watched.remove(death)

    def _settle(self, session: Session) -> None:
        """All clients told to end: soon nobody holds anything."""
        for client in self.clients:
            try:
                client.process.wait(20)
            except subprocess.TimeoutExpired:
                client.process.kill()
                self.report.strange.append("a client did not end when told to")
        end = time.monotonic() + self.report.limit
        while time.monotonic() < end and (self._watched or any(one.acquired for one in session.places())):
            self._watch(session, 0.5)
        self.report.deaths += self._watched
        self.report.places_left = [
            f"{one.name} by {one.acquired}" for one in session.places() if one.acquired
        ]

    def _done(self) -> int:
        return sum(line.startswith("recorded") for client in self.everyone for line in list(client.said))

    def _missing(self) -> list[str]:
        """What has not been killed yet; of the clients, one that held a place."""
        killed = {**self.report.killed, "client": len(self._watched) + len(self.report.deaths)}
        return [name for name, number in killed.items() if not number]

    def _enough(self) -> bool:
        return self._done() >= self.cycles and not self._missing()

    def _account(self, log: Path) -> None:
        found = read(log)
        recorded = {one.test for one in found.results}
        for one in found.results:
            self.report.statuses[one.status] = self.report.statuses.get(one.status, 0) + 1
            end = one.started + timedelta(seconds=one.duration)
            if one.status is Status.PASS and any(one.started < moment < end for moment in self._restarts):
                self.report.survived += 1
            if one.status not in (Status.PASS, Status.MISS):
                self.report.strange.append(f"{one.test}: {one.status} {one.reason}")
        for client in self.everyone:
            for line in client.said:
                word, _, rest = line.partition(" ")
                if word == "recorded":
                    self.report.said_recorded += 1
                    if rest not in recorded:
                        self.report.lost_results.append(rest)
                elif word == "TWO":
                    self.report.two_drivers.append(line)
                elif word not in ("took", "left"):
                    self.report.strange.append(line)
        for path in sorted(self.folder.glob("client-*.log")):
            if text := path.read_text().strip():
                self.report.strange.append(f"{path.name}: {text.splitlines()[-1]}")


def main() -> int:
    """Run and print; 0 where every promise was kept."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cycles", type=int, default=100)
    parser.add_argument("--places", type=int, default=4)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--limit", type=float, default=900.0, help="seconds after which no cycle is begun")
    parser.add_argument("--keep", type=Path, help="folder for all logs")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.keep or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        chaos = Chaos(folder, cycles=options.cycles, places=options.places, seed=options.seed)
        report = chaos.run(options.limit)
    print(f"seed {options.seed}: {report.text()}")
    return int(bool(report.faults))


if __name__ == "__main__":
    sys.exit(main())
