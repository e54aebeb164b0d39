"""What every VMM's command line is made from, and what it is."""

from __future__ import annotations

from dataclasses import dataclass, field

from lab.boards.vmm import Vmm

OWN = "own"
"""`Vmm.binary` of a VMM of one's own, which the image brings (``--vmm qemu=PATH``)."""

KERNELS = {"board": "/boot/{file}", "backports": "/boot/{file}-backports", "own": "/boot/{file}-own"}
"""Where the image keeps the kernel and the initrd of each `Vmm.kernel`."""

FAST = (
    "quiet cryptomgr.notests "
    "initcall_blacklist=jent_mod_init,init_encrypted,load_system_certificate_list,crypto_kdf108_init"
)
"""Saves seconds of emulation: self tests of the crypto code, certificates, the jitter RNG."""

WORDS = "lab.role=guest panic=-1 drm_kms_helper.fbdev_emulation=0"
"""panic=-1: a VMM ends at once when its guest panics, which is noticed. fbdev would make dma-bufs too."""


@dataclass(frozen=True)
class Places:
    """Where things are on the board. ``decoder`` is the device that ``video: vfio`` gives away."""

    folder: str = "/run/lab/vm"
    disk: str = "/dev/vda"
    cid: int = 3
    decoder: str | None = None

    def kernel(self, vmm: Vmm) -> str:
        """The guest's kernel."""
        return KERNELS[vmm.kernel].format(file="vmlinuz")

    def initrd(self, vmm: Vmm) -> str:
        """The guest's initrd."""
        return KERNELS[vmm.kernel].format(file="initrd")


@dataclass(frozen=True)
class Command:
    """A VMM to start on the board."""

    argv: tuple[str, ...]
    env: dict[str, str] = field(default_factory=dict)
    needs: str = ""
    """What to do where the program is not on the board."""


def words(vmm: Vmm, console: str) -> str:
    """The guest's kernel command line."""
    return " ".join(part for part in (f"console={console}", FAST, WORDS, vmm.cmdline) if part)
