"""A process that starts a rack, to be killed: ``python -m tests.rack.parent DIRECTORY UBOOT [stay] [on]``.

Prints the process numbers of the supervisor and of the QEMUs as a JSON list. Then it waits for its
end, or, with ``stay``, leaves the rack running.
"""

from __future__ import annotations

import json
import signal
import sys
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from lab.rack import Machine, Rack

VIRT = Machine(
    machine="virt,virtualization=on,gic-version=3,iommu=smmuv3",
    cpu="max,sve=off,pauth=off",
    memory="512M",
    devices=("edu", "edu,dma_mask=0xffffffff"),
)


@dataclass(frozen=True)
class Files:
    """What a rack boots from; U-Boot's prompt needs no real root file system."""

    uboot: Path
    squashfs: Path


def main(directory: Path, uboot: Path, *words: str) -> None:
    """See the module."""
    boards = {"one": VIRT, "two": VIRT}
    rack = Rack.start(boards, image=Files(uboot, uboot), directory=directory, ephemeral="stay" not in words)
    if "on" in words:
        url = rack.resources("one")["NetworkPowerPort"]["host"]
        urllib.request.urlopen(urllib.request.Request(url, data=b"1", method="PUT"), timeout=30).close()
    qemus = [board.pid for board in rack.status().values() if board.pid]
    print(json.dumps([rack.state.pid, *qemus]), flush=True)
    if "stay" not in words:
        signal.pause()


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), *sys.argv[3:])
