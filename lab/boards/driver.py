"""A labgrid driver for the virtual machine on a board: active while the guest runs and answers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import attr
from labgrid import target_factory
from labgrid.driver import Driver

from lab.boards.agent import Agent
from lab.boards.guest import Guest
from lab.boards.target import Target, load_target
from lab.boards.vmm import Vmm
from lab.boards.vmms import Places

NETWORK_ROOT = "/run/lab/root.squashfs"
"""Where the initramfs puts a root file system that came over the network (images/initramfs/netroot)."""


def ssh_destination(ssh: Any) -> list[str]:
    """Arguments for ssh(1) that use the connection of an active SSHDriver."""
    service = ssh.networkservice
    control = ssh.control.replace("%", "%%")
    user = ssh.username or service.username
    return ["-o", f"ControlPath={control}", "-p", str(service.port), "-l", user, service.address]


def places(target: Target) -> Places:
    """Where a VMM finds things on a board of this kind."""
    disk = "/dev/vda" if target.boot.root == "disk" else NETWORK_ROOT
    return Places(disk=disk, decoder=target.decoders[0].device)


@target_factory.reg_driver
@attr.s(eq=False)
class VmmDriver(Driver):  # type: ignore[misc]
    """VmmDriver - starts a VMM on the board with a guest in it, see lab/boards/vmm.py

    Binds to: SSHDriver.
    Reads from the environment: vmm, boot.
    """

    bindings = {"ssh": "SSHDriver"}  # noqa: RUF012 - labgrid's way to declare them

    def __attrs_post_init__(self) -> None:
        super().__attrs_post_init__()
        self.facts = load_target(Path(self.target.env.config.filename))
        self.config: Vmm = self.facts.vmm or Vmm()
        """What is started next."""
        self.board: Agent | None = None
        """The agent on the board; one is started where nobody gave one."""
        self.guest: Guest | None = None
        self.keep = False
        """Whether the next VMM outlives the agent that starts it."""
        self.running = False
        """Whether it runs already: kept by another agent."""

    def on_activate(self) -> None:
        """Start VMM and guest. Raises as `Guest.start`."""
        destination = ssh_destination(self.ssh)
        if self.board is None:
            self.board = Agent.start(self.facts.name, destination, python=self.facts.boot.python)
        name = f"{self.facts.name} guest"
        if self.running:
            self.guest = Guest.find(name, self.board, destination, self.config)
        else:
            self.guest = Guest.start(name, self.board, destination, self.config, self.places, keep=self.keep)

    @property
    def places(self) -> Places:
        """Where the VMM finds things on the board."""
        return places(self.facts)

    def on_deactivate(self) -> None:
        """End the guest and the VMM."""
        guest, self.guest = self.guest, None
        if guest is not None:
            guest.close()

    def present(self, config: Vmm) -> Guest | None:
        """The running guest if it has this configuration and answers."""
        guest = self.guest
        return guest if guest is not None and guest.vmm == config and guest.answers() else None

    def forget(self) -> None:
        """The board goes: let go of the agent on it, which takes the VMM along."""
        board, self.board = self.board, None
        if board is not None:
            board.lost = board.lost or f"{self.facts.name}: was switched off"
            board.close()
