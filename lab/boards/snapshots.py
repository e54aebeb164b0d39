"""Boots that are not done again: a virtual board goes on from where a former boot of the same things stood.

Only an accelerator. What the saved state depends on is in its key, the board is verified as after any
boot, and whatever goes wrong ends in a plain boot.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from lab.agent.snapshot import AWAKE, GO, WAKE
from lab.base.errors import BoardError, LabError
from lab.base.words import IommuMode
from lab.boards import uboot
from lab.boards.target import Target

if TYPE_CHECKING:
    from lab.boards.agent import Agent
    from lab.imaging import Image

VERSION = 3
"""To be raised when a saved board is left or taken up in another way than before."""

WAKE_UP = f"echo >{WAKE} && cat {AWAKE}"
"""For a shell on the board: says `GO` when the timers of all its CPUs go on."""


class Snapshots(Protocol):
    """Where one board's states are saved; `lab.rack.Rack.snapshots` has it. All raise LabError."""

    def find(self, key: str) -> dict[str, Any] | None:
        """What was said when ``key`` was saved; None: there is none."""

    def save(self, key: str, about: dict[str, Any]) -> None:
        """Save the running board."""

    def resume(self, key: str) -> bool:
        """Switch the board on where it was saved; False: there is none."""

    def discard(self, key: str) -> None:
        """Forget it."""


def key(
    target: Target, image: Image | None, mode: IommuMode, *, kernel: Path, initrd: Path, guest: Any = None
) -> str:
    """The hex SHA-256 of all that goes into a booted board, apart from the machine, which its rack knows.

    ``initrd`` is the one that the board gets: with the ssh keys in it. ``guest``: what runs on the board.
    """
    from lab.agent import ship

    setup = target.iommu.modes[mode]
    parts = {
        "version": VERSION,
        "image": image.digest if image is not None else "",
        "kernel": _digest(kernel),
        "initrd": _digest(initrd),
        "boot": uboot.boot_lines(target.boot, setup, kernel="kernel", initrd="initrd"),
        "setup": setup.model_dump(mode="json"),
        "mode": str(mode),
        "target": target.model_dump(mode="json", include={"soc", "memory", "modules", "decoders", "virtual"}),
        "python": target.boot.python,
        "agent": [ship.boot_source(), ship.sources()],
        "guest": guest,
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class SavedBoot:
    """One boot's snapshot. ``said`` is what came of it: "restored KEY", "saved KEY", or why neither."""

    def __init__(self, store: Snapshots, key: str, target: Target, title: str) -> None:
        self.said = ""
        self._title = title
        self._about: dict[str, Any] = {}
        self._store = store
        self._key = key
        self._target = target
        self._devices = [decoder.device for decoder in target.decoders]

    def resume(self, strategy: Any, start_agent: Callable[[], Agent], settle: Callable[[], None]) -> bool:
        """Let the saved boot go on and bring it to where `save` was called.

        ``start_agent`` and ``settle`` are what comes after the kernel in any boot: ``settle`` verifies
        the board. False where there is no snapshot, or none that stands all this: it is discarded then,
        and nothing is known of the board.
        """
        try:
            self._about = about = self._store.find(self._key) or {}
            if not about:
                return False
            strategy.resume(self._power_on)
            self._wake(strategy.ssh)
            self._take_up(start_agent(), about)
            settle()
        except Exception as error:  # of any kind: a plain boot tells whether it is the board or the snapshot
            self.said = f"not restored: {str(error).partition(chr(10))[0] or type(error).__name__}"
            self._discard()
            return False
        self.said = f"restored {self._key[:12]}"
        return True

    def save(self, agent: Agent, guest: Agent | None = None) -> None:
        """Save the board that ``agent`` is on, with its decoders off the bus; they are back afterwards.

        ``guest`` is the agent in the guest that is saved with it.

        That it cannot be saved is no fault of the board. Raises what ``agent`` raises when it is lost.
        """
        try:
            agent.call("reset")
            for module in {decoder.module for decoder in self._target.decoders}:
                agent.call("unload", module=module)
            boot = guest.call("hello")["boot_id"] if guest is not None else ""
            about = {**agent.call("before_snapshot", devices=self._devices), "guest": boot}
        except BoardError as error:
            self.said = f"not saved: {error.message}"
            return
        try:
            self._store.save(self._key, {**about, "key": self._key, "title": self._title})
            self.said = self.said or f"saved {self._key[:12]}"
        except LabError as error:
            self.said = f"not saved: {error.message}"
        agent.call("after_snapshot", devices=self._devices)

    def _power_on(self) -> None:
        if not self._store.resume(self._key):
            raise LabError("the snapshot is gone")

    def check_guest(self, guest: Agent) -> None:
        """Raise LabError where ``guest`` is not in the guest that was saved."""
        boot = guest.call("hello", timeout=20)["boot_id"]
        if boot != self._about["guest"]:
            raise LabError(f"its guest went on with boot_id {boot} instead of {self._about['guest']}")

    def _wake(self, ssh: Any) -> None:
        """Wake the CPUs, whose next timers got lost: see `lab.agent.snapshot`. No sleep works before."""
        said, error, status = ssh.run(WAKE_UP, timeout=10)
        if status or said != [GO]:
            raise LabError(f"its timers could not be woken: {' '.join(said + error)}")

    def _take_up(self, agent: Agent, about: dict[str, Any]) -> None:
        """Bring the decoders back, set the clock. Raises LabError where it is not the boot that was saved."""
        found = agent.call("after_snapshot", devices=self._devices, now=time.time())
        for name in ("boot_id", "kernel"):
            if found[name] != about[name]:
                raise LabError(f"it went on with {name} {found[name]} instead of {about[name]}")
        if found["uptime"] < about["uptime"]:
            raise LabError(f"it is up for {found['uptime']} s, but was saved after {about['uptime']} s")

    def _discard(self) -> None:
        with contextlib.suppress(LabError):
            self._store.discard(self._key)
