"""What the lab adds to the start of a guest, measured in one run on one board, as a ratio.

In turn, N times: the bare start (the same VMM command, by ssh, until the guest's ready line is on its
console) and `board.guest()` until the agent in the guest has answered. Both reserve the guest's huge pages.

    .venv/bin/python benchmarks/guest_ready.py [--starts 3] [--target virt-smmu] [--set gpu=none]
"""

from __future__ import annotations

import argparse
import shlex
import shutil
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

from lab.boards import Board, Vmm, load_target
from lab.boards.vmms import Places, command
from lab.imaging import build
from lab.rack import Machine, Rack

# On the board: start it, wait for the line, end it. ${0}: the console's file; ${1}: how many huge pages;
# the rest: the command.
BARE = """
rm -rf "${0%/*}"; mkdir -p "${0%/*}"; modprobe vhost_vsock
echo $1 >/proc/sys/vm/nr_hugepages; shift
"$@" </dev/null >/dev/null 2>&1 &
until grep -q LAB-READY "$0" 2>/dev/null; do kill -0 $! || exit 1; usleep 100000; done
echo ready
kill -9 $!; wait; echo 0 >/proc/sys/vm/nr_hugepages
"""


def bare_start(destination: list[str], vmm: Vmm) -> float:
    """Seconds from the ssh command to the ready line."""
    places = Places(folder="/run/bare")
    made = command(vmm, places)
    words = [f"{name}={value}" for name, value in made.env.items()]
    shell = ["busybox", "sh", "-c", BARE, f"{places.folder}/console", str(vmm.hugepages)]
    argv = ["env", *words, *shell, *made.argv]
    began = time.monotonic()
    process = subprocess.Popen(
        ["ssh", "-F", "none", *destination, shlex.join(argv)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    line = process.stdout.readline()
    seconds = time.monotonic() - began
    process.wait(timeout=30)
    if line.strip() != "ready":
        raise SystemExit("the bare guest did not start")
    return seconds


def lab_start(board: Board, vmm: Vmm) -> float:
    """Seconds from the request to the first answer of the agent in the guest."""
    began = time.monotonic()
    guest = board.guest(vmm)
    guest.agent.call("hello")
    seconds = time.monotonic() - began
    board.end_guest()
    return seconds


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--target", default="virt-smmu")
    parser.add_argument("--starts", type=int, default=3)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    options = parser.parse_args()
    target = load_target(options.target)
    vmm = (target.vmm or Vmm()).with_settings(options.set)
    image = build(target.image)
    folder = Path(tempfile.mkdtemp(prefix="lab-bench-"))
    bare, lab = [], []
    try:
        machine = Machine.model_validate(target.virtual)
        with Rack.start({target.name: machine}, image=image, directory=folder / "rack") as rack:
            environment = target.write_environment(
                folder,
                resources=rack.resources(target.name),
                image=image,
                keyfile=rack.keyfile,
                boot_files=rack.boot_files,
            )
            with Board.open(environment, target, image) as board:
                board.boot(target.default_modes[0])
                destination = board.ssh_destination()
                for _ in range(options.starts):
                    bare.append(bare_start(destination, vmm))
                    lab.append(lab_start(board, vmm))
                    print(f"bare {bare[-1]:6.2f} s   lab {lab[-1]:6.2f} s   ratio {lab[-1] / bare[-1]:.2f}")
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    ratio = statistics.median(b / a for a, b in zip(bare, lab, strict=True))
    print(
        f"median: bare {statistics.median(bare):.2f} s, lab {statistics.median(lab):.2f} s, ratio {ratio:.2f}"
    )


if __name__ == "__main__":
    main()
