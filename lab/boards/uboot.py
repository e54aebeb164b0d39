"""The U-Boot commands of one boot: pure text, built from the target's facts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lab.base.errors import ConfigError
from lab.boards.facts import ModeSetup
from lab.boards.target import Boot

FAILED = "LAB-BOOT-FAILED"
"""What the console says when a command of a boot line failed; never part of the line itself."""


ROOT_FAILED = r"LAB-ROOT-FAILED: [^\r\n]*(?=[\r\n])"
"""What the initramfs says where the root file system does not come over the network; a pattern."""


@dataclass(frozen=True)
class NetworkRoot:
    """A root file system on an HTTP server: its URL, as the board has it, and its length in bytes."""

    url: str
    size: int

    def words(self, patience: float) -> tuple[str, ...]:
        """For the kernel's command line, read by images/initramfs/init. ``patience``: seconds to get it."""
        return (f"lab.root={self.url}", f"lab.size={self.size}", f"lab.patience={patience:.0f}")


def bootargs(boot: Boot, setup: ModeSetup, root: NetworkRoot | None = None) -> str:
    """The kernel command line of a boot in a mode. The mode's words come last: the last one wins."""
    network = root.words(boot.timeouts.root) if root is not None else ()
    return " ".join(
        part for part in (f"console={boot.console}", boot.cmdline, *network, *setup.kernel) if part
    )


def boot_lines(
    boot: Boot,
    setup: ModeSetup,
    *,
    kernel: str,
    initrd: str,
    tree: str | None = None,
    edits: Sequence[str] = (),
    root: NetworkRoot | None = None,
    packed: bool = False,
) -> list[str]:
    """The lines for U-Boot's shell that load and start Linux; each says FAILED where a command of it fails.

    ``kernel``, ``initrd`` and ``tree`` are paths on the TFTP server; without a ``tree`` the board's own is
    taken. ``edits``: commands on it before Linux gets it. ``root``: where it is no disk. ``packed``: the file
    ``kernel`` is compressed by gzip, and the boot says where to load such a one. As many commands as
    fit go in one line, because each line costs a round trip over the serial console.
    Raises ConfigError for a command that fits in no line.
    """
    address = boot.devicetree if tree is None else boot.tree
    commands = [*boot.network, f"tftpboot {boot.packed if packed else boot.kernel} {kernel}"]
    if packed:
        commands.append(f"unzip {boot.packed} {boot.kernel}")
    if tree is not None:
        commands.append(f"tftpboot {address} {tree}")
    commands.append(f"tftpboot {boot.initrd} {initrd}")
    if edits:
        commands += [f"fdt addr {address}", *edits]
    commands += [
        f"setenv bootargs '{bootargs(boot, setup, root)}'",
        # ${filesize} is that of the last file loaded, the initrd
        f"booti {boot.kernel} {boot.initrd}:${{filesize}} {address}",
    ]
    half = len(FAILED) // 2
    # The word is in two parts so that the echo of the line is not taken for it. Not "a && b || echo":
    # U-Boot's shell skips all up to the next ; when a fails (U-Boot, common/cli_hush.c run_list_real).
    begin, end = "if ", f"; then true; else echo {FAILED[:half]}''{FAILED[half:]}; fi"
    return [begin + line + end for line in pack(commands, boot.line - len(begin + end) - 1)]


def pack(commands: list[str], limit: int) -> list[str]:
    """Join ``commands`` by && to as few lines of at most ``limit`` characters as their order allows.

    Raises ConfigError for a command that is longer than ``limit``.
    """
    lines: list[str] = []
    for command in commands:
        if len(command) > limit:
            raise ConfigError(f"U-Boot command of {len(command)} characters, at most {limit} fit: {command}")
        if lines and len(lines[-1]) + len(" && ") + len(command) <= limit:
            lines[-1] += f" && {command}"
        else:
            lines.append(command)
    return lines
