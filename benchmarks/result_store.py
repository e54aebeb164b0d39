"""How fast the result store is, and whether it stays so: taking results in, comparing 12 SoCs, a run's page.

    python benchmarks/result_store.py                      10,000 and 1,000,000 results in SQLite
    python benchmarks/result_store.py --store postgresql   the same on a PostgreSQL server of its own
    python benchmarks/result_store.py --store FILE-OR-URL  fill this store and leave it; look at a full one

A result is a line of about 2.6 KB, as the real runs have them on average: its evidence, three figures and
the kernel's messages. Every run is one board's: 60 tests in four IOMMU modes.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from lab.base import dirs
from lab.base.words import IommuMode
from lab.results.folder import as_json
from lab.results.model import Cell, Run, iso
from lab.results.report import report
from lab.results.store import Query, Store

SOCS = ("rk3399", "rk3568", "rk3588", "imx8mq", "imx8mp", "mt8183", "mt8192", "sc7180", "sm8250", "bcm2711",
        "meson-g12b", "sun50i-h6")  # fmt: skip
TESTS = 60
CELLS = TESTS * len(IommuMode)
METRICS = {"decode_seconds": 2.0, "import_seconds": 0.02, "frames_per_second": 20.0}
FILE = 10_000
"""Results in one log that is taken in."""


def evidence() -> dict[str, Any]:
    pages = [0x1_0000_0000 + at * 7919 % 97 * 0x13000 for at in range(28)]
    return {
        "stage": "done", "importer": "0000:00:01.0", "attachments": ["0000:00:01.0"], "bounced": 0,
        "buffer": {"exporter": "udmabuf", "inode": 4711, "size": 114688}, "pages": pages, "faults": 0,
        "maps": [{"device": "0000:00:01.0", "nents": 28, "ents": 28, "phys": pages,
                  "dma": [[page, 4096] for page in pages], "truncated": False}],
        "kmsg": [f"[   12.3456{at:02}] vdec 0000:00:01.0: queue setup, plane {at}" for at in range(8)],
        "swiotlb_hiwater": [0, 0], "copies": [], "missing": [], "canary": 165,
        "times": {"allocate": 0.004, "import": 0.021, "decode": 2.013},
    }  # fmt: skip


def cell_of(number: int, mode: IommuMode, soc: str) -> dict[str, Any]:
    allocator = ("decoder-mmap", "udmabuf-4k", "udmabuf-2m", "vgem", "guest-blob", "host-blob")[number % 6]
    name = f"test_decoder_writes_into_imported_buffer[wide-{allocator}-{number}]"
    test = f"suites/board/test_import.py::{name}"
    return {
        "test": test, "target": f"{soc}-evk", "soc": soc, "suite": "board", "allocator": allocator,
        "importer": "decoder", "path": f"{allocator}, variant {number // 6}", "decoder": "wide",
    }  # fmt: skip


def write_log(path: Path, first: int, count: int, chance: random.Random) -> None:
    """``count`` results of the runs from number ``first`` on."""
    rest = json.dumps({"evidence": evidence(), "log": "", "reasons": ["4 of 4 frames match"]})[1:-1]
    with path.open("w") as file:
        for run in range(first, first + count // CELLS + 1):
            soc = SOCS[run % len(SOCS)]
            started = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(minutes=5 * run)
            cells = [(mode, cell_of(at, mode, soc)) for mode in IommuMode for at in range(TESTS)]
            cells = cells[: count - (run - first) * CELLS]
            planned = tuple(Cell(iommu=mode, **{**cell, "importer": ""}) for mode, cell in cells)
            file.write(Run(id=name_of(run), started=started, planned=planned).to_json() + "\n")
            for mode, cell in cells:
                verdict = "zero-copy" if mode is IommuMode.TRANSLATED else "refused"
                light = {
                    "run": name_of(run), **cell, "iommu_asked": mode, "iommu_verified": mode,
                    "status": "PASS" if chance.random() < 0.99 else "FAIL", "attempt": 1,
                    "started": iso(started), "duration": chance.random(), "place": f"{soc}-{run % 3}",
                    "verdict": verdict, "expected": verdict, "expected_errno": None, "errno": None,
                    "expected_reason": "contiguous memory is demanded, 4K pages are scattered",
                    "reason": "the decoder's DMA addresses lie on the buffer's own pages",
                    "repeat": f"lab run board -t {soc}-evk --iommu {mode} -k 'wide and {cell['allocator']}'",
                    "image": "3f2a91c04b7d" * 5, "kernel": f"6.12.{run // 400}-arm64", "environment": {},
                    "metrics": {name: chance.gauss(mean, mean / 20) for name, mean in METRICS.items()},
                }  # fmt: skip
                head = json.dumps({"schema": 1, "kind": "result", **light}, separators=(",", ":"))
                file.write(f"{head[:-1]},{rest}}}\n")


def name_of(run: int) -> str:
    return f"run-{run:06}"


def timed(work: Callable[[], Any], repeats: int = 5) -> tuple[float, Any]:
    """The median of some repetitions, in seconds, and what came of it."""
    times, result = [], None
    for _ in range(repeats):
        start = time.perf_counter()
        result = work()
        times.append(time.perf_counter() - start)
    return sorted(times)[len(times) // 2], result


def fill(store: Store, count: int, folder: Path) -> tuple[float, float]:
    """Take ``count`` results in; how many a second, by the clock and of this process's CPU time."""
    chance = random.Random(1)
    wall = cpu = 0.0
    run = 0
    for start in range(0, count, FILE):
        size = min(FILE, count - start)
        write_log(folder / "log", run, size, chance)
        run += size // CELLS + 1
        before = time.perf_counter(), time.process_time()
        found = store.ingest(folder / "log")
        wall += time.perf_counter() - before[0]
        cpu += time.process_time() - before[1]
        assert found.new == size, found
    return count / wall, count / cpu


def yardstick(folder: Path) -> float:
    """How many of these lines json.loads alone reads a second of CPU: what this machine is worth now."""
    lines = (folder / "log").read_bytes().splitlines()[:2000]
    before = time.process_time()
    for line in lines:
        json.loads(line)
    return len(lines) / (time.process_time() - before)


def measure(where: str | Path, count: int, folder: Path) -> None:
    with Store(where) as store:
        if store.runs(1):
            print(f"{'full':>9}  taken in by an earlier call", flush=True)
        else:
            per_second, per_cpu = fill(store, count, folder)
            print(f"{count:>9,}  taken in {per_second:,.0f}/s, {per_cpu:,.0f}/s of CPU (json.loads alone:"
                  f" {yardstick(folder):,.0f}/s of CPU)", flush=True)  # fmt: skip
        run = next(run for run in store.runs(2) if len(run.planned) == CELLS)
        asked = Query(socs=SOCS)
    with Store(where) as store:
        first, found = timed(lambda: store.latest(asked), 1)
        again, _ = timed(lambda: store.latest(asked))
        sampled, samples = timed(lambda: store.latest(asked, samples=10))
        print(f"{'':9}  newest of {len(found)} cells {first:.2f} s, again {again:.2f} s;"
              f" {len(samples)} samples {sampled:.2f} s", flush=True)  # fmt: skip
        page, _ = timed(lambda: as_json(store.outcome(run)))
        html, _ = timed(lambda: report(store.outcome(run)), 3)
        print(f"{'':9}  run of {len(run.planned)} cells: read {page:.3f} s, page {html:.2f} s")
    command = [sys.executable, "-m", "lab.cli", "compare", *SOCS, "--store", str(where)]
    compiled = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    seconds, done = timed(
        lambda: subprocess.run(command, cwd=dirs.root(), env=compiled, capture_output=True, check=False)
    )
    print(f"{'':9}  lab compare of {len(SOCS)} SoCs, all of it: {seconds:.2f} s, exit code {done.returncode}")


def stores(kind: str, folder: Path, stack: ExitStack) -> Iterator[str | Path]:
    """New stores, one after the other."""
    if kind == "sqlite":
        number = 0
        while True:
            number += 1
            yield folder / f"store{number}.sqlite"
    if kind != "postgresql":
        yield kind
        raise SystemExit("a store that is given is filled once; give one size")
    sys.path.insert(0, str(dirs.root()))
    from tests.results.postgres import running

    server = stack.enter_context(running())
    for number in range(1000):
        yield server.new_database(f"store{number}")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--store", default="sqlite", help="sqlite, postgresql, or a store's file or URL")
    parser.add_argument("--sizes", default="10000,1000000", help="how many results, one store each")
    parser.add_argument("--folder", type=Path, help="where to work (some GB for a million)")
    given = parser.parse_args()
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(dir=given.folder))
        where = stores(given.store, Path(folder), stack)
        for size in given.sizes.split(","):
            measure(next(where), int(size), Path(folder))


if __name__ == "__main__":
    main()
