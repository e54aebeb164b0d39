"""crosvm (https://crosvm.dev): its own devices, no monitor protocol and no command trace.

It is in no distribution: the board's image must bring a binary that was built with the features in `NEEDS`.
Options: src/crosvm/cmdline.rs and devices/src/virtio/gpu/parameters.rs of crosvm. Not run here.
"""

from __future__ import annotations

from lab.base.errors import ConfigError
from lab.boards.vmm import Vmm
from lab.boards.vmms.command import OWN, Command, Places, words
from lab.imaging.own.given import VMM_FOLDER

NEEDS = (
    "crosvm is in no distribution: build it for arm64 (cargo build --release --features gpu,virgl_renderer) "
    "and give it by --vmm crosvm=PATH, or name its place on the board by vmm.binary"
)

BINARIES = {"": "crosvm", OWN: f"{VMM_FOLDER}/crosvm"}
"""`Vmm.binary` -> program on the board; every other name is one itself."""

GPUS = {
    "2d": "backend=2d",
    "blob": "backend=2d,udmabuf=true,external-blob=true",
    "virgl": "backend=virglrenderer,context-types=virgl:virgl2,egl=true,surfaceless=true",
    "virgl-blob": "backend=virglrenderer,context-types=virgl:virgl2,egl=true,surfaceless=true,"
    "external-blob=true,pci-bar-size=268435456",
}


def command(vmm: Vmm, places: Places) -> Command:
    """crosvm's command line. Raises ConfigError for VFIO without a decoder, and for a memory BAR."""
    argv = [program(vmm), "run", "--disable-sandbox", "--cpus", "1"]
    argv += ["--mem", str(vmm.bytes >> 20)]
    if vmm.backing == "hugetlb":
        argv += ["--hugepages"]
    argv += ["--initrd", places.initrd(vmm), "--params", words(vmm, "ttyS0")]
    argv += ["--block", f"path={places.disk},ro=true"]
    argv += ["--vsock", f"cid={places.cid}"]
    argv += ["--serial", f"type=file,hardware=serial,num=1,console=true,path={places.folder}/console"]
    argv += ["--socket", f"{places.folder}/control"]
    if vmm.gpu != "none":
        argv += ["--gpu", GPUS[vmm.gpu]]
    if vmm.video == "slot":
        raise ConfigError("video: slot needs QEMU: a device comes to crosvm's guest before it starts")
    if vmm.video == "vfio":
        if places.decoder is None:
            raise ConfigError("video: vfio needs a decoder on the board's PCI bus")
        argv += ["--vfio", f"/sys/bus/pci/devices/{places.decoder}"]
    if vmm.memory_bar:
        raise ConfigError("crosvm has no vhost-user device whose memory a guest sees in a BAR")
    return Command((*argv, *vmm.extra, places.kernel(vmm)), needs=NEEDS)


def program(vmm: Vmm) -> str:
    """The program on the board."""
    return BINARIES.get(vmm.binary, vmm.binary)
