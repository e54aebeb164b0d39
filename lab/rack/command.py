"""The QEMU command line of a virtual board: pure."""

from __future__ import annotations

from pathlib import Path

from lab.rack.layout import LOOPBACK, BoardPlan

BLOCK_SLOT = 0x1E
NETWORK_SLOT = 0x1F


def escape(value: str | Path) -> str:
    """``value`` for use inside a QEMU option, where a comma is written twice."""
    return str(value).replace(",", ",,")


def arguments(board: BoardPlan, *, tftp: Path, console: int, qmp: int) -> list[str]:
    """QEMU's arguments for ``board``, without the program.

    ``console`` and ``qmp`` are file descriptors of connected sockets that QEMU inherits: no port
    or path that another process could take, and end of file on ours when QEMU is gone.
    ``tftp`` is the folder that the board's TFTP server (10.0.2.2, as is this machine's loopback) offers.
    """
    words = ["-no-user-config", "-nodefaults", "-display", "none"]
    words += ["-M", board.machine, "-cpu", board.cpu, "-smp", str(board.smp), "-m", board.memory]
    words += ["-bios", board.uboot]
    words += ["-chardev", f"socket,id=console,fd={console}", "-serial", "chardev:console"]
    words += ["-chardev", f"socket,id=qmp,fd={qmp}", "-mon", "chardev=qmp,mode=control"]
    for device in board.devices:
        words += ["-device", device]
    if board.disk:
        words += ["-drive", f"if=none,id=system,format=raw,readonly=on,file={escape(board.squashfs)}"]
        words += ["-device", f"virtio-blk-pci,drive=system,addr={BLOCK_SLOT:#x}"]
    forward = f"hostfwd=tcp:{LOOPBACK}:{board.ssh_port}-:22"
    words += ["-netdev", f"user,id=network,tftp={escape(tftp)},{forward}"]
    # The card's boot ROM is in a package of its own (ipxe-qemu); U-Boot has no use for it.
    words += ["-device", f"virtio-net-pci,netdev=network,romfile=,addr={NETWORK_SLOT:#x}"]
    words += ["-d", "guest_errors,unimp"]
    words += board.extra
    return words
