"""Is the sharing matrix the same every time? Runs it N times and compares verdict by verdict.

    .venv/bin/python benchmarks/truth_table.py [--runs 10] [--suite board] [--target NAME ...] [-- OPTION...]

What follows ``--`` goes to `lab run`, as ``--snapshot`` or ``--iommu off``.

Prints each run's wall time and exit code, and every cell whose verdict was not always the same.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections import Counter, defaultdict
from pathlib import Path


def main() -> int:
    """Measure and print; 0 where all runs gave one matrix, each cell as expected."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=10)
    parser.add_argument("--suite", default="board")
    parser.add_argument("--target", action="append")
    parser.add_argument("rest", nargs="*", metavar="OPTION")
    options = parser.parse_args()
    targets = options.target or ["virt-smmu", "virt-cma", "virt-dma32"]
    verdicts: dict[tuple[str, ...], Counter[str]] = defaultdict(Counter)
    codes = Counter()
    with tempfile.TemporaryDirectory() as folder:
        for number in range(1, options.runs + 1):
            out = Path(folder, "out.json")
            command = [sys.executable, "-m", "lab.cli", "run", options.suite, "--results", folder]
            command += ["--json", str(out), *options.rest]
            for target in targets:
                command += ["--target", target]
            began = time.monotonic()
            code = subprocess.run(command, capture_output=True, check=False).returncode
            codes[code] += 1
            print(f"run {number:2}: exit code {code}, {time.monotonic() - began:.0f} s", flush=True)
            for cell in json.loads(out.read_text())["cells"]:
                key = (cell["target"], cell["iommu"]["asked"], cell["test"])
                verdicts[key][f"{cell['status']} {cell['verdict']}"] += 1
    differing = {key: found for key, found in verdicts.items() if len(found) > 1}
    for key, found in sorted(differing.items()):
        print("  ".join(key), dict(found))
    print(f"{len(verdicts)} cells, {len(differing)} not always the same; exit codes {dict(codes)}")
    return int(bool(differing) or set(codes) != {0})


if __name__ == "__main__":
    sys.exit(main())
