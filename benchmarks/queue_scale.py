"""Many places, many jobs: how long from a job's release to the next one's lease, and is any lost or doubled?

    .venv/bin/python benchmarks/queue_scale.py [--places 200] [--jobs 2000] [--queue 200] [--hold 60]
                                               [--client both] [--coordinator lab]

The real coordinator (`lab`: as `lab up` runs it; `labgrid`: `labgrid-coordinator`) and a real exporter
with PLACES places; JOBS jobs want one of them each, for HOLD seconds on average. So many are there at a
time that QUEUE of them wait. Every job is a client of its own: one connection, one identity. `ours`
reserves as `lab reserve` does; `labgrid` runs labgrid-client's own code for `reserve --wait`, `lock`, then
`cancel-reservation`, `unlock`. A hand-over is from the call that releases a place to the return of the one
by which the next job, which waits already, acquires it. `lab boards` is timed in between, as a process. The
jobs' processes are niced: they stand for other machines, and are not to take the processor from the lab's.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from lab.places import connect
from tests.lightlab import DIE_WITH_US, LightLab, eventually

COORDINATORS = {"lab": "lab.places.coordinator", "labgrid": "labgrid.remote.coordinator"}
WORKERS = 4
SOCS = 10
BOARDS = 5
"""How often `lab boards` is timed."""


@dataclass(frozen=True)
class Job:
    """What became of one job; times of the machine's monotonic clock."""

    number: int
    place: str
    asked: float
    got: float
    released: float


@dataclass(frozen=True)
class Measured:
    """One run with one kind of client."""

    client: str
    jobs: list[Job]
    lost: int
    seconds: float
    boards: list[float]
    coordinator: float  # seconds of CPU

    @property
    def hand_overs(self) -> list[float]:
        """Of each place from one job to the next that waited already."""
        found = []
        for before, after in self._pairs():
            if after.asked < before.released:
                found.append(after.got - before.released)
        return sorted(found)

    @property
    def doubled(self) -> int:
        """Times that two jobs had one place at once."""
        return sum(after.got < before.released for before, after in self._pairs())

    def _pairs(self) -> list[tuple[Job, Job]]:
        places: dict[str, list[Job]] = {}
        for job in sorted(self.jobs, key=lambda one: one.got):
            places.setdefault(job.place, []).append(job)
        return [pair for jobs in places.values() for pair in pairwise(jobs)]

    def line(self) -> str:
        """For a person."""
        times = self.hand_overs
        if not times or not self.boards:
            return f"{self.client:8} {len(self.jobs)} jobs, lost {self.lost}: nobody waited long"
        late = times[int(len(times) * 0.95)]
        return (
            f"{self.client:8} {len(self.jobs)} jobs in {self.seconds:.0f} s, lost {self.lost}, "
            f"doubled {self.doubled}; "
            f"{len(times)} hand-overs: median {statistics.median(times):.2f} s, 95 % {late:.2f} s, "
            f"longest {times[-1]:.2f} s; "
            f"lab boards {statistics.median(self.boards):.2f} s, {max(self.boards):.2f} s at most; "
            f"coordinator {self.coordinator:.0f} s CPU"
        )


def measure(client: str, options: argparse.Namespace) -> Measured:
    """One run, in a lab of its own."""
    names = [f"place-{number:03}" for number in range(options.places)]
    with (
        tempfile.TemporaryDirectory() as folder,
        LightLab(Path(folder), COORDINATORS[options.coordinator]) as lab,
    ):
        lab.start_light_exporter(*names)
        with connect(lab.address) as session:
            for number, name in enumerate(names):
                lab.add_places(session, name, soc=f"soc{number % SOCS}")
            eventually(lambda: all(place.live for place in session.places()))
        lab.start_janitor()
        together = options.places + options.queue
        script = Path(__file__).with_name("queue_worker.py")
        numbers = (options.jobs, together // WORKERS, options.hold)
        began = time.monotonic()
        outputs = [Path(folder, f"worker{worker}.jsonl") for worker in range(WORKERS)]
        workers = []
        for worker, path in enumerate(outputs):
            command = [sys.executable, "-X", "faulthandler", script, client, lab.address, worker, *numbers]
            with path.open("w") as output:  # not a pipe: one that is not read stops its writer
                words = [*DIE_WITH_US, "nice", *map(str, command)]
                workers.append(subprocess.Popen(words, stdout=output, env=lab.environment))
        boards: list[float] = []
        while any(worker.poll() is None for worker in workers) and time.monotonic() - began < options.limit:
            time.sleep(min(options.hold, 1.0) if len(boards) >= BOARDS else options.hold)
            if len(boards) < BOARDS:
                started = time.monotonic()
                lab.lab_says("boards")
                boards.append(time.monotonic() - started)
        for number, worker in enumerate(workers):
            if worker.poll() is None:
                print(f"worker {number} is stopped after {options.limit:.0f} s", file=sys.stderr)
                worker.kill()
                worker.wait()
            elif worker.returncode:
                print(f"worker {number} ended with status {worker.returncode}", file=sys.stderr)
        lines = [line for path in outputs for line in path.read_text().splitlines() if line.endswith("}")]
        seconds = time.monotonic() - began
        spent = cpu(lab.processes["coordinator"].pid)
    jobs = [Job(**json.loads(line)) for line in lines]
    lost = options.jobs - len({job.number for job in jobs})
    return Measured(client, jobs, lost, seconds, boards, spent)


def cpu(pid: int) -> float:
    """Seconds of CPU that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100


def main() -> int:
    """Measure and print; 0 where nothing was lost or doubled."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--places", type=int, default=200)
    parser.add_argument("--jobs", type=int, default=2000)
    parser.add_argument("--queue", type=int, default=200)
    parser.add_argument("--hold", type=float, default=60.0)
    parser.add_argument("--limit", type=float, default=3600.0, help="seconds until the rest counts as lost")
    parser.add_argument("--coordinator", choices=list(COORDINATORS), default="lab")
    parser.add_argument("--client", choices=["ours", "labgrid", "both"], default="both")
    options = parser.parse_args()
    bad = 0
    for client in ("ours", "labgrid") if options.client == "both" else (options.client,):
        measured = measure(client, options)
        print(measured.line(), flush=True)
        bad += measured.lost + measured.doubled
    return int(bad > 0)


if __name__ == "__main__":
    sys.exit(main())
