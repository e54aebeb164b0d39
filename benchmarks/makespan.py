"""How long `lab run` takes for several kinds of board when fewer are free at a time, beside the ideal.

A lab of virtual boards, one of each kind, as a coordinator, an exporter and a rack; one `lab run` over all
of them, N boards at a time. The ideal is the best order of the same cells on N boards that cost nothing
between them: a kind's cells, its boots among them, take as long as they took in this very run.

    .venv/bin/python benchmarks/makespan.py [--boards 2] [--suite board] [-k EXPR] [--at-most 1.3]
"""

from __future__ import annotations

import argparse
import itertools
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from lab.base import ui
from lab.results.log import LogContents, read
from tests.boardlab import BoardLab

KINDS = ["virt-smmu", "virt-cma", "virt-dma32"]


def ideal(lengths: list[float], boards: int) -> float:
    """The shortest time in which ``boards`` boards can do jobs of these lengths: every split is tried."""
    best = sum(lengths)
    for split in itertools.product(range(boards), repeat=len(lengths)):
        loads = [0.0] * boards
        for board, length in zip(split, lengths, strict=True):
            loads[board] += length
        best = min(best, max(loads))
    return best


def lengths(contents: LogContents) -> dict[str, float]:
    """Kind -> seconds of its cells; boots are part of the cells that asked for them."""
    found: dict[str, float] = {}
    for result in contents.results:
        found[result.target] = found.get(result.target, 0.0) + result.duration
    return found


def wrong(contents: LogContents) -> list[str]:
    """Planned cells that were not judged just once."""
    count = Counter(result.key for result in contents.results if result.judged)
    planned = {cell.key for run in contents.runs for cell in run.planned}
    return [f"{key.test} on {key.target}: {count[key]} results" for key in planned if count[key] != 1]


def main() -> int:
    """Run it; 1 where a cell is missing or doubled, or the ratio is larger than asked."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--boards", type=int, default=2, help="boards free at a time")
    parser.add_argument("--suite", default="board")
    parser.add_argument("-k", dest="keyword", default="", help="as pytest's -k")
    parser.add_argument("--kinds", nargs="+", default=KINDS, metavar="TARGET")
    parser.add_argument("--at-most", type=float, default=1.3, metavar="RATIO")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="makespan-") as name:
        folder = Path(name)
        with BoardLab(folder / "lab", {f"{kind}-1": kind for kind in asked.kinds}) as lab:
            words = ["run", asked.suite, "--boards", str(asked.boards), "--results", str(folder / "results")]
            words += [word for kind in asked.kinds for word in ("--target", kind)]
            words += ["--wait", "10m", *(["-k", asked.keyword] if asked.keyword else [])]
            begin = time.monotonic()
            process = lab.lab(*words, user="ci")
            took = drain(process, begin)
        contents = read(folder / "results" / "latest" / "results.jsonl")
    jobs = lengths(contents)
    best = ideal(list(jobs.values()), asked.boards)
    for kind, seconds in jobs.items():
        ui.out.print(f"{kind:12} {seconds:6.1f} s of cells")
    for lease in contents.leases:
        held = (lease.until - lease.since).total_seconds()
        waited = (lease.since - lease.asked).total_seconds()
        ui.out.print(f"{lease.place:12} held {held:6.1f} s after {waited:.1f} s of waiting")
    ratio = took / best
    ui.out.print(
        f"{len(contents.results)} cells, {asked.boards} boards at a time: {took:.1f} s, ideal {best:.1f} s, "
        f"ratio {ratio:.2f} (at most {asked.at_most})"
    )
    problems = wrong(contents)
    for line in problems:
        ui.out.print(f"wrong: {line}")
    return int(bool(problems) or ratio > asked.at_most)


def drain(process: subprocess.Popen[str], begin: float) -> float:
    """Pass on what the run says; seconds until it ended."""
    assert process.stdout is not None
    for line in process.stdout:
        ui.err.print(line.rstrip(), highlight=False, style="dim", soft_wrap=True)
    process.wait(60)
    return time.monotonic() - begin


if __name__ == "__main__":
    sys.exit(main())
