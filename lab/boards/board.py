"""One board: booted into an IOMMU mode that was verified there, with an agent to do things on it."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar

from lab.base.errors import ConfigError, LabError
from lab.base.words import IommuMode
from lab.boards import switch
from lab.boards.environment import Opened, opened
from lab.boards.lastwords import LastWords
from lab.boards.modes import GROUP_TYPE, verify
from lab.boards.target import Target
from lab.boards.vmm import Vmm

if TYPE_CHECKING:
    from lab.boards.agent import Agent
    from lab.boards.guest import Guest
    from lab.boards.snapshots import SavedBoot, Snapshots
    from lab.imaging import Image

T = TypeVar("T")


def preload() -> threading.Thread:
    """Import what a board is switched on by in the background, while a rack starts or images are looked up.

    The agent's transport is not part of it: there is time for that while the board boots.
    """
    needed = ("lab.boards.strategy", "requests")  # the last for NetworkPowerDriver
    thread = threading.Thread(
        target=lambda: [import_module(name) for name in needed], name="preload", daemon=True
    )
    thread.start()
    return thread


class Board:
    """A board of a target, driven through its labgrid environment. One per process: labgrid has no threads.

    Use as a context manager, or `close` it: that switches the board off.
    """

    def __init__(
        self,
        labgrid: Opened,
        target: Target,
        image: Image | None,
        log_tail: Callable[[], str] | None,
        snapshots: Snapshots | None,
        name: str,
    ) -> None:
        """Use `open`."""
        from lab.boards.console import ConsoleLog

        self.target = target if image is None else target.at(image.manifest["kernel"])
        self.name = name
        """The place, or the target where it has none: for messages."""
        self.image = image
        self.mode: IommuMode | None = None
        """The mode that was verified on the board; None when it is not known to be booted."""
        self.verified = ""
        """What the board said about it: the IOMMU group's type, or "no group"."""
        self.times: dict[str, float] = {}
        """Stage of the last boot (uboot, kernel, linux, ssh, agent, verified) -> seconds after power-on.

        A board that went on from a snapshot has ``restored`` in the place of the first three."""
        self.snapshot = ""
        """What the last boot had to do with snapshots: "restored KEY", "saved KEY", or why neither; or that
        there was no boot."""
        self.switching = False
        """Whether `boot` may change the decoders' mode while the board runs, where no more differs.

        Devices other than the decoders keep the mode that they were booted in."""
        self._environment, self._strategy = labgrid
        self._agent: Agent | None = None
        self._facts: dict[str, Any] | None = None
        self._snapshots = snapshots
        self._console = ConsoleLog(self._strategy.console)
        self._last_words = LastWords(name, self._console, log_tail)

    @classmethod
    def open(
        cls,
        environment: Path,
        target: Target,
        image: Image | None = None,
        *,
        log_tail: Callable[[], str] | None = None,
        snapshots: Snapshots | None = None,
        name: str = "",
    ) -> Self:
        """Take the board that the labgrid environment file describes; nothing is switched yet.

        ``name`` is its place, for messages; by default the target's name.
        ``log_tail`` gives the last lines of what powers the board (a rack's log) for error messages.
        ``snapshots``: where the board's boots are saved, for the next one to go on from; None: never.
        Raises ConfigError where labgrid cannot build it or it boots by what the strategy does not know,
        LabError where its coordinator cannot be reached.
        """
        target.check_bootable()
        name = name or target.name
        return cls(opened(environment, name), target, image, log_tail, snapshots, name)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def agent(self) -> Agent:
        """The agent on the booted board. Raises LabError when there is none."""
        if self._agent is None:
            raise LabError(f"{self.name} is not booted")
        return self._agent

    @property
    def facts(self) -> dict[str, Any]:
        """What the booted board says of itself: the agent's ``facts()``, asked once a boot."""
        if self._facts is None:
            self._facts = self._guarded(lambda: self.agent.call("facts"))
        return self._facts

    def boot(self, mode: IommuMode | str) -> None:
        """Bring the board up in ``mode``, with an agent, and verify the mode on it.

        Nothing is done where it is so already and the board answers. Raises ConfigError for a mode
        that the target does not have; LabError, with the console's last lines, when the board does
        not come up or came up in another mode.
        """
        wanted = self.target.mode(str(mode))
        if self.mode is wanted and self._answers():
            return
        if self._switchable(wanted):
            self.mode = None
            self._guarded(lambda: self._switch(wanted))
        else:
            self.invalidate()
            self._guarded(lambda: self._boot(wanted))
        self.mode = wanted

    def _switchable(self, mode: IommuMode) -> bool:
        """Whether it runs, and may be brought into ``mode`` as it is."""
        allowed = self.switching and self.mode is not None and switch.possible(self.target, self.mode, mode)
        return allowed and self._answers()

    def _switch(self, mode: IommuMode) -> None:
        """Into ``mode`` without a boot."""
        begin = time.monotonic()
        self.end_guest()
        kind = GROUP_TYPE[mode]
        assert kind is not None
        switch.switch(self.agent, self.target, kind)
        self.verified = verify(self.agent, self.target, mode)
        self._facts = None
        self.snapshot = "switched while it ran"
        self.times = {"switched": time.monotonic() - begin}

    def guest(self, vmm: Vmm | None = None) -> Guest:
        """The guest of the virtual machine ``vmm`` (by default the target's): the running one or a new one.

        One that runs with another configuration, or does not answer any more, is ended first. Raises
        LostGuestError, with the guest's last words, when it does not come up; LabError when the VMM's
        program is not on the board. The board stays as it is then.
        """
        driver = self._strategy.vmm
        wanted = vmm or self.target.vmm
        if driver is None or wanted is None:
            raise ConfigError(f"target {self.target.name} has no vmm: and VmmDriver")
        present: Guest | None = driver.present(wanted)
        if present is not None:
            return present
        if self._snapshots is not None and self.mode is not None and wanted.saveable:
            return self._saved_guest(self.mode, wanted)
        agent = self.agent
        self.end_guest()
        return self._start_guest(agent, wanted)

    def ssh_destination(self) -> list[str]:
        """Arguments for ssh(1) that reach the booted board over the connection that is there."""
        destination: list[str] = self._strategy.ssh_destination()
        return destination

    def _start_guest(self, agent: Agent, vmm: Vmm, *, keep: bool = False, running: bool = False) -> Guest:
        driver = self._strategy.vmm
        driver.config, driver.board, driver.keep, driver.running = vmm, agent, keep, running
        self._strategy.transition("vm")
        started: Guest = driver.guest
        return started

    def _saved_guest(self, mode: IommuMode, vmm: Vmm) -> Guest:
        """A board that goes on with the guest running in it, or a fresh one whose guest is saved then.

        Fresh, so that nothing which tests did on the board gets into the snapshot.
        """
        saved = self._saved_boot(mode, vmm)
        assert saved is not None

        def settle() -> None:
            self._settle(mode)
            saved.check_guest(self._start_guest(self.agent, vmm, running=True).agent)

        self.invalidate()
        if not self._guarded(lambda: saved.resume(self._strategy, self._start_agent, settle)):
            self.invalidate()
            self.boot(mode)
            guest = self._start_guest(self.agent, vmm, keep=True)
            guest.warm()
            self._guarded(lambda: saved.save(self.agent, guest.agent))
            self._guarded(lambda: self._settle(mode))
        self.mode = mode
        self.snapshot = f"{saved.said} with a guest"
        started: Guest = self._strategy.vmm.guest
        return started

    def end_guest(self) -> None:
        """End the virtual machine on the board, if one runs."""
        from lab.boards.strategy import Status

        if self._strategy.status is Status.vm:
            self._strategy.transition("linux")

    def invalidate(self, reason: str = "") -> None:
        """Don't trust the board any more: the next `boot` starts with the power.

        ``reason`` is what calls of the present agent say from now on.
        """
        from lab.boards.strategy import Status

        self.mode = None
        self.verified = ""
        self._facts = None
        self._strategy.status = Status.unknown
        agent, self._agent = self._agent, None
        if agent is not None:
            if reason:
                agent.lost = agent.lost or f"{self.name}: {reason}"
            agent.close()

    def tell_stages(self, on_stage: Callable[[str], None]) -> None:
        """Have each stage of a boot (`times` lists them) told to ``on_stage``, in the thread that boots."""
        self._strategy.on_stage = on_stage

    def keep_console(self, path: Path | None) -> None:
        """Also keep what it writes to its console in the file ``path``, from now on; None changes nothing."""
        self._console.keep(path)

    def mark(self) -> int:
        """The present end of the console's log, for `console_since`."""
        return self._console.mark()

    def console_since(self, mark: int) -> str:
        """What the board wrote to its console after ``mark``."""
        return self._console.since(mark)

    def power_off(self) -> None:
        """Switch the board off. Raises LabError where that fails."""
        self.invalidate()
        self._guarded(lambda: self._strategy.transition("off"))

    def leave(self) -> None:
        """Let go of the board and leave it running; its agent ends, and a guest that it started."""
        agent, self._agent = self._agent, None
        self.end_guest()
        if agent is not None:
            agent.close()
        self._environment.cleanup()
        self._console.close()

    def stop(self, reason: str) -> None:
        """From any thread: break off a boot, and let calls of the agent fail. Returns at once."""
        self._strategy.stop = reason
        if self._agent is not None:
            self._agent.lost = self._agent.lost or f"{self.name}: {reason}"

    def abandon(self, reason: str) -> None:
        """Let go of the board as it is: it is somebody else's. Nothing is sent to it, nothing switched."""
        self.stop(reason)
        agent, self._agent = self._agent, None
        if agent is not None:
            agent.close()
        with contextlib.suppress(Exception):  # whatever hangs there is not ours to mend
            self._environment.cleanup()
        self._console.close()

    def close(self) -> None:
        """Switch the board off and let go of labgrid's drivers. One that does not obey is no error."""
        self._strategy.stop = ""
        with contextlib.suppress(LabError):
            self.power_off()
        with contextlib.suppress(Exception):  # drivers of a vanished rack
            self._environment.cleanup()
        self._console.close()

    def _boot(self, mode: IommuMode) -> None:
        strategy = self._strategy
        strategy.iommu = str(mode)
        saved = self._saved_boot(mode)
        if saved is None or not saved.resume(strategy, self._start_agent, lambda: self._settle(mode)):
            self.invalidate()
            strategy.transition("linux")
            agent = self._start_agent()
            if saved is not None:
                saved.save(agent)
            self._settle(mode)
        self.snapshot = saved.said if saved is not None else ""

    def _saved_boot(self, mode: IommuMode, vmm: Vmm | None = None) -> SavedBoot | None:
        if self._snapshots is None:
            return None
        from lab.boards.snapshots import SavedBoot, key
        from lab.boards.vmms import command

        strategy = self._strategy
        files = {name: strategy.boot_file(name) for name in ("kernel", "initrd")}
        guest = [vmm.model_dump(), vars(command(vmm, strategy.vmm.places))] if vmm is not None else None
        found = key(self.target, self.image, mode, guest=guest, **files)
        title = f"{self.target.name} {mode}{f', {vmm.title}' if vmm is not None else ''}"
        return SavedBoot(self._snapshots, found, self.target, title)

    def _start_agent(self) -> Agent:
        from lab.boards.agent import Agent

        strategy = self._strategy
        begin = time.monotonic() - strategy.times["ssh"]
        self._agent = Agent.start(self.name, strategy.ssh_destination(), python=self.target.boot.python)
        self._agent.call("hello", timeout=20)
        self.times = {**strategy.times, "agent": time.monotonic() - begin}
        return self._agent

    def _settle(self, mode: IommuMode) -> None:
        """From an agent to a board that was verified to be in ``mode``."""
        begin = time.monotonic() - self.times["agent"]
        for module, parameters in self.target.modules.items():
            params = {name: list(v) if isinstance(v, tuple) else v for name, v in parameters.items()}
            self.agent.call("load", module=module, params=params)
        self.verified = verify(self.agent, self.target, mode)
        self.times["verified"] = time.monotonic() - begin

    def _answers(self) -> bool:
        if self._agent is None:
            return False
        try:
            self._agent.call("ping", timeout=5)
        except LabError:
            return False
        return True

    def _guarded(self, action: Callable[[], T]) -> T:
        """Do ``action``; what goes wrong is a LostBoardError with the logs, and the board suspect."""
        try:
            return action()
        except ConfigError:
            raise
        except Exception as error:  # labgrid, pexpect, pyserial and requests have no common root
            failure = self._last_words.error(error)
            self.invalidate(str(error))
            raise failure from error

    def last_words(self) -> str:
        """The last lines of the console and, for a virtual board, of the rack's log."""
        return self._last_words.text()
