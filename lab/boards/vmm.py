"""The virtual machine monitor that a target's boards run: the ``vmm:`` section of a target file."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from lab.base.yamlfile import Strict


class Vmm(Strict):
    """One configuration of VMM and guest. Two that are equal can share a running guest.

    ``binary`` is a name or a path on the board, ``qemu-11`` the image's QEMU from backports. ``kernel`` is
    the guest's: the board's own, or the newer one from backports. ``backing`` is what the guest's RAM is
    made of: a memfd of 4 KiB pages, or one of 2 MiB huge pages. ``gpu``: a 2D virtio-gpu with blob
    resources, one without, one with virgl, one with virgl, blobs and a window for host memory, or none.
    ``rendernode`` is what virgl draws with; ``/dev/null`` is Mesa's software renderer. ``video``: nothing,
    or the board's first decoder, given away by VFIO.
    """

    kind: Literal["qemu", "crosvm"] = "qemu"
    binary: str = ""
    kernel: Literal["board", "backports"] = "board"
    memory: str = Field(default="512M", pattern=r"^\d+[MG]$")
    backing: Literal["memfd", "hugetlb"] = "memfd"
    gpu: Literal["blob", "2d", "virgl", "virgl-blob", "none"] = "blob"
    rendernode: str = "/dev/null"
    video: Literal["none", "vfio"] = "none"
    cmdline: str = ""
    extra: tuple[str, ...] = ()
    timeout: float = Field(default=240, gt=0)
    """Seconds for the guest to boot."""

    @property
    def bytes(self) -> int:
        """The guest's memory."""
        return int(self.memory[:-1]) << {"M": 20, "G": 30}[self.memory[-1]]

    @property
    def hugepages(self) -> int:
        """How many pages of 2 MiB the guest's memory takes."""
        return -(-self.bytes // (2 << 20)) if self.backing == "hugetlb" else 0

    @property
    def title(self) -> str:
        """One line for people."""
        return f"{self.binary or self.kind}, {self.memory} of {self.backing}, gpu {self.gpu}"
