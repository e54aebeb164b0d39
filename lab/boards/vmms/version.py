"""Which VMM ran, in which version: so that results of two VMMs can be told apart and compared."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lab.boards.vmm import Vmm
from lab.boards.vmms.command import OWN

NAMES = {"qemu": "QEMU", "crosvm": "crosvm"}
STOCK = ("", "qemu-11")
"""`Vmm.binary` of those that the image has from Debian: their version says all."""


def title(vmm: Vmm, told: str, own: Mapping[str, Any]) -> str:
    """``QEMU 10.0.13``; behind it what tells builds of one version apart, where it is not Debian's.

    ``told``: its version, in its own words (`lab.boards.guest.Guest.version`). ``own``: what of the board's
    image is one's own (`lab.imaging.Image`).
    """
    build = own["vmm"]["digest"][:7] if vmm.binary == OWN else "" if vmm.binary in STOCK else vmm.binary
    return " ".join(filter(None, (NAMES[vmm.kind], told, build)))
