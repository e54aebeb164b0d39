"""The virtual machine monitor that a target's boards run: the ``vmm:`` section of a target file."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from pydantic import Field, ValidationError

from lab.agent.vhost_device import SOCKET
from lab.base.errors import ConfigError
from lab.base.yamlfile import Strict


class Vmm(Strict):
    """One configuration of VMM and guest. Two that are equal can share a running guest.

    ``binary`` is a name or a path on the board, ``qemu-11`` the image's QEMU from backports. ``kernel`` is
    the guest's: the board's own, the newer one from backports, or ``own``, that of ``--guest-kernel``.
    ``backing`` is what the guest's RAM is made of: a memfd of 4 KiB pages, or one of 2 MiB huge pages.
    ``gpu``: a 2D virtio-gpu with blob resources, one without, one with virgl, one with virgl, blobs and a
    window for host memory, or none. ``rendernode`` is what virgl draws with; ``/dev/null`` is Mesa's
    software renderer. ``video``: nothing, the board's first decoder, given away by VFIO, or an empty PCIe
    slot into which it can be put while the guest runs (QEMU).
    """

    kind: Literal["qemu", "crosvm"] = "qemu"
    binary: str = ""
    kernel: Literal["board", "backports", "own"] = "board"
    memory: str = Field(default="512M", pattern=r"^\d+[MG]$")
    backing: Literal["memfd", "hugetlb"] = "memfd"
    gpu: Literal["blob", "2d", "virgl", "virgl-blob", "none"] = "blob"
    rendernode: str = "/dev/null"
    video: Literal["none", "vfio", "slot"] = "none"
    memory_bar: str = ""
    """Socket on the board of a vhost-user back-end whose memory the guest sees in a BAR; QEMU >= 11.

    The one called `lab.agent.vhost_device.SOCKET` is the agent's own."""
    cmdline: str = ""
    extra: tuple[str, ...] = ()
    timeout: float = Field(default=240, gt=0)
    """Seconds for the guest to boot."""

    def with_settings(self, settings: Sequence[str]) -> Vmm:
        """The same with ``KEY=VALUE`` pairs over it. Raises ConfigError for what it does not know."""
        values: dict[str, Any] = self.model_dump()
        for setting in settings:
            key, equals, value = setting.partition("=")
            if not equals or key not in values:
                raise ConfigError(
                    f"vmm setting '{setting}': not KEY=VALUE", hint=f"keys: {', '.join(values)}"
                )
            values[key] = value.split() if isinstance(values[key], (tuple, list)) else value
        try:
            return Vmm.model_validate(values, strict=False)
        except ValidationError as error:
            first = error.errors()[0]
            raise ConfigError(f"vmm setting {first['loc'][0]}={first['input']}: {first['msg']}") from None

    @property
    def bytes(self) -> int:
        """The guest's memory."""
        return int(self.memory[:-1]) << {"M": 20, "G": 30}[self.memory[-1]]

    @property
    def hugepages(self) -> int:
        """How many pages of 2 MiB the guest's memory takes."""
        return -(-self.bytes // (2 << 20)) if self.backing == "hugetlb" else 0

    @property
    def shown_by_agent(self) -> bool:
        """Whether it is the board's agent that shows memory to the guest, by ``memory_bar``."""
        return self.memory_bar == SOCKET

    @property
    def saveable(self) -> bool:
        """Whether a running one can be part of a snapshot: none of it lies where a snapshot cuts it off."""
        return self.video != "vfio" and (self.shown_by_agent or not self.memory_bar)

    @property
    def title(self) -> str:
        """One line for people."""
        return f"{self.binary or self.kind}, {self.memory} of {self.backing}, gpu {self.gpu}"
