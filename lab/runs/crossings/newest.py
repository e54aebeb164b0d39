"""The newest guest that the image can give, for the paths that need one: it serves them all."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lab.agent.vhost_device import SOCKET
from lab.boards.vmm import Vmm
from lab.boards.vmms.qemu import program
from lab.runs.crossings.crossing import Crossing

KERNEL = "backports"
NEWEST = {"kind": "qemu", "binary": "qemu-11", "kernel": KERNEL}
"""What these paths take of the image: a VMM that shows memory in a BAR, a guest whose virtio-gpu imports."""


def newest(
    crossing: Crossing, changes: Mapping[str, Any] | None = None
) -> tuple[dict[str, Any], dict[str, tuple[bool, str]]]:
    """The configuration for `Crossing.guest`, and whether its VMM has a BAR for memory (a requirement).

    Where a QEMU was chosen, it is that one. ``changes``: another VMM or guest kernel than `NEWEST`. RAM on
    huge pages, because on small ones each page is a fault to begin with.
    """
    configured = crossing.board.target.vmm or Vmm()
    chosen = {"binary": configured.binary} if configured.kind == "qemu" and configured.binary else {}
    wanted: dict[str, Any] = {**NEWEST, **chosen, **(changes or {})}
    vmm = configured.model_copy(update=wanted)
    found = crossing.agent.call("host_blob_capability", binary=program(vmm), timeout=60)
    if found["shared-memory-bar"][0]:
        wanted |= {"memory_bar": SOCKET, "video": "slot", "backing": "hugetlb"}
    return wanted, found


def importing(crossing: Crossing) -> dict[str, tuple[bool, str]]:
    """What is to be said of ``prime-import`` before a guest runs: where the image has no kernel for it."""
    path = f"/boot/vmlinuz-{KERNEL}"
    if crossing.agent.run(["test", "-e", path])["rc"] == 0:
        return {}
    lacking = f"no {path} in the image: the guest's kernel has to import dma-bufs (Linux 6.14)"
    return {"prime-import": (False, lacking)}
