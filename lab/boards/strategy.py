"""A labgrid strategy that boots Linux over U-Boot and TFTP, or by fastboot, in an asked IOMMU mode.

Named by ``imports: [lab.boards.strategy]`` in an environment; works wherever labgrid does
(``labgrid-client -s linux``, its pytest plugin, `lab.boards.Board`).
"""

from __future__ import annotations

import enum
import re
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import attr
import pexpect
from labgrid import target_factory
from labgrid.binding import BindingState
from labgrid.driver.common import Driver
from labgrid.step import step
from labgrid.strategy import Strategy, StrategyError

from lab.base.words import IommuMode
from lab.boards import fastboot, served, sshwords, uboot, variants
from lab.boards.devicetree import DeviceTree
from lab.boards.driver import ssh_destination
from lab.boards.target import Target, load_target

ENDS = rf"Kernel panic - not syncing[^\r\n]*|{uboot.ROOT_FAILED}"
"""What the board says, as a pattern, where it will not come up any more."""

TICK = 1.0
"""Seconds between two looks at the power while the console is silent."""


class Status(enum.Enum):
    """States of a board, each one reached through the one before it."""

    unknown = 0
    off = 1
    uboot = 2
    linux = 3
    vm = 4


@target_factory.reg_driver
@attr.s(eq=False)
class SharelabStrategy(Strategy):  # type: ignore[misc]
    """SharelabStrategy - boots a target file's board, see lab/boards/target.py for the keys it reads

    Binds to: PowerProtocol, ConsoleProtocol, SSHDriver; UBootDriver and TFTPProviderDriver, or
    AndroidFastbootDriver, as boot.loader says; HTTPProviderDriver and VmmDriver where there is one.
    Reads from the environment: boot, iommu; images: kernel and initrd, root where boot.root is http, and
    packed, which is the kernel by gzip, where boot.packed says that it may be taken.

    Args:
        iommu (str): IOMMU mode to boot into; empty for the target's first default mode

    ``linux`` is reached when the kernel has said the target's ready line and ssh is active; ``vm`` when
    besides the agent in the guest answers that VmmDriver starts.
    """

    bindings = {  # noqa: RUF012 - labgrid's way to declare them
        "power": "PowerProtocol",
        "console": "ConsoleProtocol",
        "uboot": {"UBootDriver", None},
        "tftp": {"TFTPProviderDriver", None},
        "fastboot": {"AndroidFastbootDriver", None},
        "http": {"HTTPProviderDriver", None},
        "ssh": "SSHDriver",
        "vmm": {"VmmDriver", None},
    }

    iommu: str = attr.ib(default="", validator=attr.validators.instance_of(str))
    status: Status = attr.ib(default=Status.unknown, init=False)

    def __attrs_post_init__(self) -> None:
        super().__attrs_post_init__()
        self.facts: Target = load_target(Path(self.target.env.config.filename))
        self.booted: IommuMode | None = None
        self.times: dict[str, float] = {}
        """Stage of the last boot -> seconds since the power was switched on."""
        self._power_on = 0.0
        self.on_stage: Callable[[str], None] | None = None
        """Is told each stage of a boot as it is reached."""
        self.stop = ""
        """Why nothing more may be done to the board; empty while it may. Another thread may set it."""

    @property
    def mode(self) -> IommuMode:
        """The mode that the next boot is for."""
        return self.facts.mode(self.iommu) if self.iommu else self.facts.default_modes[0]

    @step(args=["status"])  # type: ignore[untyped-decorator]
    def transition(self, status: Status | str) -> None:
        """Bring the board into ``status``. After a failure it is unknown: the next boot starts afresh."""
        wanted = status if isinstance(status, Status) else Status[status]
        if self.stop:
            raise StrategyError(self.stop)
        if wanted is Status.unknown:
            raise StrategyError(f"can not transition to {wanted}")
        if wanted is Status.vm and self.vmm is None:
            raise StrategyError("the environment lists no VmmDriver")
        up = self.status in (Status.linux, Status.vm) and self.booted is self.mode
        if wanted is self.status and (up or wanted in (Status.off, Status.uboot)):
            return
        if not (up and wanted in (Status.linux, Status.vm)):
            self.status = Status.unknown
            self.booted = None
        if wanted is Status.off:
            self._off()
        elif wanted is Status.uboot:
            self._uboot()
        else:
            if not up:
                mode = self.mode
                self._uboot()
                self._linux(mode)
                self.booted = mode
                self.status = Status.linux  # a guest that does not come up leaves the board as it is
            self._vm(wanted is Status.vm)
        self.status = wanted

    def resume(self, power_on: Callable[[], None]) -> None:
        """Reach ``linux`` by ``power_on``, which lets a saved boot in the asked mode go on."""
        self.status = Status.unknown
        self.booted = None
        self._off()
        self._fresh_console()
        self._power_on = time.monotonic()
        self.times = {}
        power_on()
        self._note("restored")
        sshwords.connect(self.ssh)
        self._note("ssh")
        self.booted = self.mode
        self.status = Status.linux

    def boot_file(self, name: str) -> Path:
        """The file that is the image ``name`` (kernel, initrd) of the next boot."""
        return Path(self.target.env.config.get_image_path(name))

    def force(self, status: Status | str) -> None:
        """Take the board as being in ``status`` already, and in the asked mode; nothing is switched."""
        wanted = status if isinstance(status, Status) else Status[status]
        drivers = {
            Status.off: [self.power],
            Status.uboot: [self.power, self.console, *filter(None, (self.uboot, self.fastboot))],
            Status.linux: [self.power, self.console, self.ssh],
            Status.vm: [self.power, self.console, self.ssh, self.vmm],
        }
        if wanted not in drivers:
            raise StrategyError(f"can not force {wanted}")
        for driver in drivers[wanted]:
            self.target.activate(driver)
        self.status = wanted
        self.booted = self.mode if wanted in (Status.linux, Status.vm) else None

    def _vm(self, on: bool) -> None:
        if on:
            self.target.activate(self.vmm)
        elif self.vmm is not None:
            self.target.deactivate(self.vmm)

    def _off(self) -> None:
        if self.vmm is not None:
            self.vmm.forget()
            self.target.deactivate(self.vmm)
        self._drop_ssh()
        for driver in filter(None, (self.uboot, self.fastboot)):
            self.target.deactivate(driver)
        self.target.activate(self.power)
        self.power.off()

    def _uboot(self) -> None:
        self._off()
        self._fresh_console()
        self._power_on = time.monotonic()
        self.times = {}
        self.power.cycle()  # again off: the driver's delay between off and on is the hardware's
        if self.facts.boot.loader == "fastboot":
            self.target.activate(self._needed("fastboot", "AndroidFastbootDriver"))
            self._note("fastboot")
        else:
            self.target.activate(self._needed("uboot", "UBootDriver"))
            self._note("uboot")

    def _needed(self, binding: str, driver: str) -> Driver:
        """The driver of a binding that only some loaders need."""
        found: Driver | None = getattr(self, binding)
        if found is None:
            raise StrategyError(f"the board boots by {self.facts.boot.loader}, and there is no {driver}")
        return found

    def _fresh_console(self) -> None:
        """Connect, and forget what an earlier boot left: its ready line must not count for the next one."""
        try:
            self.target.activate(self.console)
            self.console.settle(0.0)
        except OSError:  # a lost connection; not as a rule, because pyserial sleeps 0.3 s to close one
            self.target.deactivate(self.console)
            self.target.activate(self.console)
            self.console.settle(0.0)
        self.console.expect(".*", timeout=0)

    def _linux(self, mode: IommuMode) -> None:
        if self.facts.boot.loader == "fastboot":
            self._start_by_fastboot(mode)
        else:
            self._start_by_uboot(mode)
        self._note("kernel")
        timeouts = self.facts.boot.timeouts
        patience = timeouts.linux + (timeouts.root if self.facts.boot.root == "http" else 0)
        self._await(re.escape(self.facts.boot.ready), patience, f"'{self.facts.boot.ready}' from Linux")
        self._note("linux")
        sshwords.connect(self.ssh)
        self._note("ssh")

    def _start_by_fastboot(self, mode: IommuMode) -> None:
        tree = self._tree(mode)
        assert tree is not None, "check_bootable() wants boot.dtb"
        image = self.facts.path.with_name(f"{self.facts.name}.{mode}.img")
        files = {name: self.boot_file(name) for name in ("kernel", "initrd")}
        fastboot.write_image(self.facts, mode, image, **files, tree=tree, root=self._network_root())
        self.fastboot.boot(str(image))

    def _start_by_uboot(self, mode: IommuMode) -> None:
        self.target.activate(self._needed("tftp", "TFTPProviderDriver"))
        setup = self.facts.iommu.modes[mode]
        edit = setup.tree
        tree = self._tree(mode)
        packed = self.facts.boot.packed is not None and "packed" in self.target.env.config.get_images()
        *first, last = uboot.boot_lines(
            self.facts.boot,
            setup,
            kernel=served.offer(self.tftp, self.boot_file("packed" if packed else "kernel")),
            initrd=served.offer(self.tftp, self.boot_file("initrd")),
            tree=None if tree is None else served.offer(self.tftp, tree),
            root=self._network_root(),
            packed=packed,
            edits=variants.commands(edit, self.facts.decoders) if edit and edit.by == "u-boot" else (),
        )
        timeouts = self.facts.boot.timeouts
        for line in first:
            self.console.sendline(line)
            self._await(self.uboot.prompt, timeouts.load, f"U-Boot to load {self.facts.image}")
        self.uboot.boot_command = last
        self.uboot.boot()
        self._await("Starting kernel", timeouts.load, "the start of the kernel")

    def _network_root(self) -> uboot.NetworkRoot | None:
        """The root file system, staged on the HTTP server; None where it is a disk of the board."""
        if self.facts.boot.root == "disk":
            return None
        if self.http is None:
            raise StrategyError("the root file system comes by HTTP, and the place offers no HTTPProvider")
        self.target.activate(self.http)
        path = self.boot_file("root")
        return uboot.NetworkRoot(served.offer(self.http, path), path.stat().st_size)

    def _tree(self, mode: IommuMode) -> Path | None:
        """The device tree that is sent to the board; None where it has its own.

        It lies beside the environment's file, which is this board's alone.
        """
        edit = self.facts.iommu.modes[mode].tree
        edited = edit is not None and edit.by == "device-tree"
        if self.facts.boot.dtb is None and not edited:
            return None
        source = self.boot_file("dtb")
        if edit is None or not edited:
            return source
        tree = DeviceTree.read(source)
        variants.apply(tree, edit, self.facts.decoders)
        path = self.facts.path.with_name(f"{self.facts.name}.{mode}.dtb")
        path.write_bytes(tree.blob())
        return path

    def _note(self, stage: str) -> None:
        self.times[stage] = time.monotonic() - self._power_on
        if self.on_stage is not None:
            self.on_stage(stage)

    def _await(self, wanted: str, timeout: float, what: str) -> None:
        """Read the console line by line until ``wanted``; raise StrategyError for every other end."""
        silence = self.facts.boot.timeouts.silence
        begin = heard = time.monotonic()
        pending = b""
        while True:
            index, before, match, _ = self.console.expect(
                [wanted, uboot.FAILED, ENDS, "\n", pexpect.TIMEOUT], timeout=TICK
            )
            now = time.monotonic()
            if self.stop:
                raise StrategyError(self.stop)
            if index == 0:
                return
            if index == 1:
                raise StrategyError(f"U-Boot failed while waiting for {what}")
            if index == 2:
                raise StrategyError(match.group().decode(errors="replace"))
            if index == 3 or before != pending:
                heard, pending = now, before if index == 4 else b""
            if index == 4 and not self._powered():
                raise StrategyError(f"the board lost its power while waiting for {what}")
            if now - heard > silence:
                raise StrategyError(f"the console was silent for {silence:g} s while waiting for {what}")
            if now - begin > timeout:
                raise StrategyError(f"no sign of {what} within {timeout:g} s")

    def _powered(self) -> bool:
        """Whether the power is on; a driver that cannot tell is believed."""
        get = getattr(self.power, "get", None)
        return get is None or bool(get())

    def _drop_ssh(self) -> None:
        """End the ssh master first: SSHDriver waits up to a minute for a board that does not answer."""
        if self.ssh.state is not BindingState.active:
            return
        subprocess.run(
            ["ssh", "-F", "none", "-o", f"ControlPath={self.ssh.control}", "-O", "exit", "board"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=10,
            check=False,
        )
        self.target.deactivate(self.ssh)

    def ssh_destination(self) -> list[str]:
        """Arguments for ssh(1) that use the connection of the active SSHDriver."""
        return ssh_destination(self.ssh)
