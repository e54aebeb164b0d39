"""The board that a command works on: one that the user has leased, or one of the rack that runs here."""

from __future__ import annotations

import os
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lab.base import ui
from lab.base.errors import ConfigError, LabError

if TYPE_CHECKING:
    from lab.boards import Board, Target
    from lab.boards.agent import Agent
    from lab.cli.remote import RackBoard
    from lab.places import Lease

LOST = 3
"""Exit status where the board was taken away."""

STAGES = {
    "restored": "restored",
    "uboot": "U-Boot",
    "fastboot": "fastboot",
    "linux": "Linux",
    "agent": "agent",
}
"""Stages of a boot that are shown, with the words for them (`lab.boards.Board.times`)."""

PROBE = 5
"""Seconds for ssh to say whether the board is up."""

SSH_FAILED = 255
"""ssh's own exit status."""


def find_board(
    name: str | None, directory: Path | None, coordinator: str | None = None
) -> OwnBoard | RackBoard:
    """The leased board called ``name``, else that of the rack in ``directory``; the only one without a name.

    Raises ConfigError or LabError that says how to get one.
    """
    from lab.cli.remote import RackBoard

    if directory is None and has_lease(name, coordinator):
        return OwnBoard(name, coordinator)
    try:
        return RackBoard(name, directory)
    except LabError:
        if directory is not None:
            raise
        which = f"'{name}'" if name else "a board"
        hint = "lab reserve soc=NAME --for 2h gets you one of the lab; lab rack up TARGET makes one here"
        raise LabError(f"you hold no lease on {which}, and no rack runs here", hint=hint) from None


def has_lease(name: str | None, coordinator: str | None) -> bool:
    """Whether this user holds a board of a lab (the one called ``name``), as far as this machine knows."""
    from lab.places import notes
    from lab.places.address import coordinator_address

    if os.environ.get("LG_PLACE") and name in (None, os.environ["LG_PLACE"]):
        return True
    found = notes.all_notes(coordinator_address(coordinator))
    return any(name in (None, note.place) for note in found)


class OwnBoard:
    """A board that the user has leased. Use as a context manager: it is watched until the block's end."""

    def __init__(self, name: str | None, coordinator: str | None) -> None:
        """Take up the lease. Raises ConfigError where there is none, LeaseLostError where it is over."""
        from lab.cli.coordinator import own_lease
        from lab.places import connect
        from lab.places.address import coordinator_address

        self._stack = ExitStack()
        place = os.environ.get("LG_PLACE")
        if place and name in (None, place):  # within lab reserve -- COMMAND
            holder = f"{os.environ.get('LG_HOSTNAME', '')}/{os.environ.get('LG_USERNAME', '')}"
            address = coordinator_address(coordinator)
        else:
            note = own_lease(coordinator, name)
            place, holder, address = note.place, note.holder, note.coordinator
        session = self._stack.enter_context(connect(address))
        self.lease: Lease = session.lease(place, holder)
        self.name = place
        self._place = session.place(place)
        os.environ.update(self.lease.labgrid_environment())  # for labgrid in this process and below

    def __enter__(self) -> OwnBoard:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @property
    def plain(self) -> bool:
        """Whether its place names no target: it boots by itself, and its ssh is the user's business."""
        return not self._place.target

    @cached_property
    def target(self) -> Target:
        """Its kind. Raises ConfigError where the place does not say it."""
        from lab.boards import load_target

        if not self._place.target:
            hint = "the lab's file names one (docs/targets.md), then lab sync"
            raise ConfigError(f"place {self.name} has no target, which says how to boot it", hint=hint)
        return load_target(self._place.target)

    @cached_property
    def folder(self) -> Path:
        """A folder for the time of the command."""
        return Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="lab-")))

    @property
    def destination(self) -> list[str]:
        """Arguments for ssh(1).

        A board that boots our image has this user's keys: its host key is pinned. A plain one has keys
        and accounts of its own. With LG_PROXY the way leads through that machine, as labgrid's does.
        """
        service = self._place.resources.get("NetworkService")
        if service is None:
            raise LabError(
                f"place {self.name} offers no NetworkService for ssh", hint="lab console has its serial line"
            )
        address, port = str(service["address"]), int(str(service.get("port") or 22))
        words = ["-p", str(port), "-l", str(service["username"]), address]
        if proxy := os.environ.get("LG_PROXY"):
            words = ["-o", f"ProxyCommand=ssh -W %h:%p {proxy}", *words]
        if self.plain:
            return words
        from lab.rack.keys import of_user

        keys = of_user()
        known = self.folder / "known_hosts"
        host = address if port == 22 else f"[{address}]:{port}"
        known.write_text(f"{host} {' '.join(keys.host_public.read_text().split()[:2])}\n")
        return ["-F", "none", "-i", str(keys.client), "-o", f"UserKnownHostsFile={known}", *words]

    def answers(self) -> bool:
        """Whether it is up, with our keys in it."""
        import subprocess

        options = [
            "-o",
            "BatchMode=yes",
            "-o",
            f"ConnectTimeout={PROBE}",
            "-o",
            "LogLevel=ERROR",
        ]
        try:
            done = subprocess.run(
                ["ssh", *options, *self.destination, "true"],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=4 * PROBE,
                check=False,
            )
        except subprocess.TimeoutExpired:  # it let us in, and hangs
            return False
        return done.returncode == 0

    def boot(self, mode: str | None) -> None:
        """Boot it where it is not up: in ``mode``, or the first of its target's default modes."""
        if not self.plain and not self.answers():
            self.boot_again(mode)

    def boot_again(self, mode: str | None) -> Board:
        """Boot it in ``mode``, whatever it does now; it is left running."""
        from lab.boards import Board
        from lab.imaging import build

        image = build(self.target.image)
        board = Board.open(self.environment(image), self.target, image, name=self.name)
        with ui.task(f"board {self.name}"):
            try:
                board.boot(mode or self.target.default_modes[0])
            finally:
                board.leave()
        return board

    def environment(self, image: Any = None) -> Path:
        """A labgrid environment for it."""
        from lab.runs.offered import place_environment

        return place_environment(self.target, self.name, self.folder, image)

    def driver(self, protocol: str) -> Any:
        """labgrid's driver for ``protocol``, active. Raises LabError where the place has nothing for it."""
        import labgrid
        from labgrid.exceptions import NoDriverFoundError

        from lab.runs.offered import plain_environment

        path = plain_environment(self._place, self.folder) if self.plain else self.environment()
        what = protocol.removesuffix("Protocol").lower()
        target = labgrid.Environment(str(path)).get_target("main")
        try:
            return target.get_driver(protocol)
        except NoDriverFoundError:
            offered = ", ".join(sorted(self._place.resources)) or "nothing"
            raise LabError(f"place {self.name} has no {what}", hint=f"it offers {offered}") from None
        except Exception as error:  # labgrid, pyserial, requests: no common root
            raise LabError(f"{self.name}: no {what} ({error})", hint="lab doctor") from error

    @contextmanager
    def agent(self) -> Iterator[Agent]:
        """An agent on the board for a while. Raises LabError when it does not answer, or is off."""
        from lab.boards.agent import Agent

        agent = Agent.start(self.name, self.destination, python=self.target.boot.python)
        try:
            yield agent
        finally:
            agent.close()


WARN = (300.0, 60.0)
"""Seconds before the end of a lease at which its user is told."""


@contextmanager
def warned(lease: Lease, say: Callable[[str], None]) -> Iterator[None]:
    """Say before a timed lease ends that it does, while the block runs."""
    over = threading.Event()

    def watch() -> None:
        from lab.cli.coordinator import clock

        told = {limit for limit in WARN if limit >= _left(lease)}
        while not over.wait(1.0):
            rest = _left(lease)
            told = {limit for limit in told if limit >= rest}
            for limit in WARN:
                if rest <= limit and limit not in told:
                    told.add(limit)
                    end = clock(lease.until)
                    say(f"{lease.place} is yours until {end} only; lab extend 1h in another terminal")

    thread = threading.Thread(target=watch, name="lease-end", daemon=True)
    if lease.info.timed:
        thread.start()
    try:
        yield
    finally:
        over.set()


def _left(lease: Lease) -> float:
    return (lease.until - datetime.now(UTC)).total_seconds()
