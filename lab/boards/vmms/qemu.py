"""QEMU under KVM: ``-M virt`` with everything on PCI, console, trace and log in files, QMP on a socket."""

from __future__ import annotations

from lab.base.errors import ConfigError
from lab.boards.vmm import Vmm
from lab.boards.vmms.command import OWN, Command, Places, words
from lab.imaging.own.given import VMM_FOLDER

BINARIES = {
    "": "qemu-system-aarch64",
    "qemu-11": "/opt/qemu-11/bin/qemu-system-aarch64",
    OWN: f"{VMM_FOLDER}/qemu-system-aarch64",
}
"""`Vmm.binary` -> program on the board; every other name is one itself."""

GPUS: dict[str, tuple[str, ...]] = {
    "none": (),
    "2d": ("virtio-gpu-pci",),
    "blob": ("virtio-gpu-pci", "blob=on"),
    "virgl": ("virtio-gpu-gl-pci",),
    "virgl-blob": ("virtio-gpu-gl-pci", "blob=on", "hostmem=256M"),
}
"""`Vmm.gpu` -> device and its properties. What each can do: docs/targets.md."""

SLOT = "decoder-slot"
"""The bus for a decoder that comes while the guest runs (``video: slot``)."""

TRACE = "trace:virtio_gpu_cmd_*"


def command(vmm: Vmm, places: Places) -> Command:
    """QEMU's command line. Raises ConfigError for VFIO without a decoder."""
    ram = f"memory-backend-memfd,id=ram,size={vmm.memory},share=on"
    if vmm.backing == "hugetlb":
        ram += ",hugetlb=on,hugetlbsize=2M,prealloc=on"  # all of it is what the board had at the start
    argv = [program(vmm), "-nodefaults", "-no-user-config", "-no-reboot"]
    argv += ["-M", "virt,gic-version=3,memory-backend=ram", "-accel", "kvm", "-cpu", "host", "-smp", "1"]
    argv += ["-m", vmm.memory, "-object", ram]
    argv += ["-kernel", places.kernel(vmm), "-initrd", places.initrd(vmm), "-append", words(vmm, "ttyAMA0")]
    argv += ["-drive", f"if=none,id=root,file={places.disk},format=raw,readonly=on"]
    argv += ["-device", _pci("virtio-blk-pci", "drive=root")]
    argv += ["-device", _pci("vhost-vsock-pci", f"guest-cid={places.cid}")]
    argv += ["-serial", f"file:{places.folder}/console"]
    argv += ["-qmp", f"unix:{places.folder}/qmp,server=on,wait=off"]
    env: dict[str, str] = {}
    if vmm.gpu != "none":
        kind, *properties = GPUS[vmm.gpu]
        argv += ["-device", _pci(kind, "id=gpu", *properties), "-d", TRACE, "-D", f"{places.folder}/trace"]
    if vmm.gpu.startswith("virgl"):
        # The only display that gives the guest's textures away as dma-bufs, to whoever listens (vm_display).
        argv += ["-display", f"dbus,p2p=on,gl=on,rendernode={vmm.rendernode}"]
        if vmm.rendernode == "/dev/null":
            # llvmpipe's code as it comes: to optimise it takes ten seconds on an emulated CPU
            env |= {"GBM_ALWAYS_SOFTWARE": "1", "GALLIVM_PERF": "nopt"}
    else:
        argv += ["-display", "none"]
    if vmm.video == "vfio":
        if places.decoder is None:
            raise ConfigError("video: vfio needs a decoder on the board's PCI bus")
        argv += ["-device", f"vfio-pci,host={places.decoder}"]
    if vmm.video == "slot":
        argv += ["-device", f"pcie-root-port,id={SLOT},chassis=1"]
    if vmm.memory_bar:
        argv += _memory_bar(vmm.memory_bar)
    return Command((*argv, *vmm.extra), env, needs="the image's package qemu-system-arm has it")


def _memory_bar(socket: str) -> list[str]:
    """A device that shows the board's memory in a BAR, QEMU >= 11.0.

    A vhost-user back-end has to listen at ``socket`` before (the agent's ``host_blob_start``). The device
    needs a number for which QEMU has a name: 31 is a video decoder, for which the guest has no other driver.
    """
    device = _pci(
        "vhost-user-test-device-pci", "chardev=memory", "virtio-id=31", "num_vqs=2", "config_size=16"
    )
    return ["-chardev", f"socket,id=memory,path={socket}", "-device", device]


def program(vmm: Vmm) -> str:
    """The program on the board."""
    return BINARIES.get(vmm.binary, vmm.binary)


def _pci(kind: str, *properties: str) -> str:
    """A device without the option ROM, whose file a small install lacks."""
    return ",".join((kind, *properties, "romfile="))
