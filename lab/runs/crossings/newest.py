"""The newest guest that the image can give, for the paths that need one: it serves them all."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lab.boards.vmm import Vmm
from lab.boards.vmms.qemu import program
from lab.runs.crossings.crossing import Crossing

NEWEST = {"kind": "qemu", "binary": "qemu-11", "kernel": "backports"}
"""What these paths take of the image: a VMM that shows memory in a BAR, a guest whose virtio-gpu imports."""


def newest(
    crossing: Crossing, changes: Mapping[str, Any] | None = None
) -> tuple[dict[str, Any], dict[str, tuple[bool, str]]]:
    """The configuration for `Crossing.guest`, and whether its VMM has a BAR for memory (a requirement).

    ``changes``: another VMM or guest kernel than `NEWEST`. Starts what shows the memory, which listens
    before the guest starts. RAM on huge pages, because on small ones each page is a fault to begin with.
    """
    wanted: dict[str, Any] = {**NEWEST, **(changes or {})}
    vmm = (crossing.board.target.vmm or Vmm()).model_copy(update=wanted)
    found = crossing.agent.call("host_blob_capability", binary=program(vmm), timeout=60)
    if found["shared-memory-bar"][0]:
        socket = crossing.agent.call("host_blob_start")["socket"]
        wanted |= {"memory_bar": socket, "video": "slot", "backing": "hugetlb"}
    return wanted, found
