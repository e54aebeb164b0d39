"""One virtual board on the supervisor's side: power, console, and the log of what happened to it."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import fcntl
import os
import signal
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lab.base.errors import LabError, SharelabError
from lab.rack.command import arguments
from lab.rack.console import Console
from lab.rack.layout import LOOPBACK, BoardPlan, BoardPorts

if TYPE_CHECKING:
    from lab.rack.qemu import Qemu
    from lab.rack.snapshot import Snapshot, Store

LOAD_TIMEOUT = 120.0
"""Seconds for a QEMU that loads a snapshot to answer on its monitor."""


def listener(port: int) -> socket.socket:
    """A socket bound to ``port`` of the loopback interface, 0 for any free one.

    Raises OSError (EADDRINUSE). While it is bound and not listening it holds the port: no other
    process is given it, except one that asks for just this port and sets SO_REUSEADDR, as QEMU's
    user network does (libslirp, src/socket.c: tcpx_listen). So QEMU can have it at every power-on,
    no relay stands between, and a connection to a board that is off is refused.
    """
    bound = socket.socket()
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind((LOOPBACK, port))
    except OSError:
        bound.close()
        raise
    return bound


class Board:
    """A board of the rack; off until ``on``."""

    def __init__(self, plan: BoardPlan, folder: Path) -> None:
        """Make the board's ``folder`` and take its ports. Raises OSError where a port is taken."""
        self._plan = plan
        self._tftp = folder / "tftp"
        self._tftp.mkdir(parents=True, exist_ok=True)
        self._files = folder / "http"
        self._files.mkdir(exist_ok=True)
        self._log = os.open(folder / "board.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self._console = Console(folder / "console.log", self.event)
        self._serial = listener(plan.serial_port)
        self._ssh = listener(plan.ssh_port)
        self.ports = BoardPorts(serial=self._serial.getsockname()[1], ssh=self._ssh.getsockname()[1])
        self._qemu: Qemu | None = None
        self._watch: asyncio.Task[None] | None = None
        self._switch = asyncio.Lock()

    async def open(self) -> None:
        """Offer the console."""
        await self._console.listen(self._serial)

    async def close(self) -> None:
        """Power off and give everything back."""
        await self.off()
        await self._console.close()
        self._ssh.close()
        os.close(self._log)

    def event(self, text: str) -> None:
        """Add a line to the board's log; lost where the disk is full, which must not stop the board."""
        now = datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds")
        with contextlib.suppress(OSError):
            os.write(self._log, f"{now} {text}\n".encode())

    @property
    def powered(self) -> bool:
        """Whether QEMU runs. A board that switched itself off, or whose QEMU was killed, is off."""
        return self._qemu is not None and self._qemu.alive

    def file(self, name: str) -> Path | None:
        """The file ``name`` that is staged for the board; None where there is none."""
        path = self._files / name
        return path if "/" not in name and path.is_file() else None

    def status(self) -> dict[str, Any]:
        """Power state, ports, and QEMU's pid and start (seconds since the epoch), for JSON."""
        qemu = self._qemu if self.powered else None
        return {
            "power": self.powered,
            "pid": qemu.pid if qemu else None,
            "since": qemu.since if qemu else None,
            "serial": self.ports.serial,
            "ssh": self.ports.ssh,
        }

    async def on(self) -> None:
        """Switch on; nothing where it is on.

        Raises LabError or ConfigError where QEMU does not start.
        """
        async with self._switch:
            if not self.powered:
                await self._start()

    async def _start(self, incoming: int | None = None) -> Qemu:
        # Here, not at the top: the supervisor offers its ports some 40 ms sooner.
        from lab.rack.qemu import START_TIMEOUT, Qemu

        await self._settled()
        ours, theirs = socket.socketpair()
        self._console.plug(ours)
        try:
            with theirs:
                qemu = self._qemu = Qemu(self._arguments(), theirs, self.event, incoming=incoming)
            self._watch = asyncio.create_task(self._watched(qemu))
            # While it loads a state it may leave its monitor alone.
            await qemu.ready(START_TIMEOUT if incoming is None else LOAD_TIMEOUT)
        except SharelabError as error:
            self.event(f"power on failed: {error}")
            self._console.unplug()
            raise
        self.event(f"power on: QEMU is process {qemu.pid}")
        return qemu

    def find(self, store: Store, key: str) -> Snapshot | None:
        """The snapshot of just this machine under ``key``. Errors as for `machine_facts`."""
        from lab.rack.snapshot import full_key, machine_facts

        return store.find(full_key(key, machine_facts(self._plan)))

    async def save(self, store: Store, key: str, about: dict[str, Any]) -> float:
        """Save the running board under ``key``; the seconds that it stood still or was written.

        Raises LabError where it is off or cannot be saved; it runs on then.
        """
        from lab.rack import migration
        from lab.rack.snapshot import full_key, machine_facts

        async with self._switch:
            qemu = self._qemu
            if qemu is None or not qemu.alive:
                raise LabError("a board that is off cannot be saved")
            begin = time.monotonic()
            machine = machine_facts(self._plan)
            with store.part() as part:
                await migration.save(qemu, part)
                part.describe(machine, about)
                store.keep(part, full_key(key, machine))
        seconds = time.monotonic() - begin
        self.event(f"snapshot {key[:12]} saved in {seconds:.1f} s")
        return seconds

    async def resume(self, store: Store, snapshot: Snapshot) -> None:
        """Switch on and go on from ``snapshot``; errors as for `on`.

        Raises LabError where the board is on already, or the snapshot is damaged or refused by QEMU:
        it is removed then, and the board is off.
        """
        from lab.rack import migration

        name = str(snapshot.about.get("key", snapshot.key))[:12]  # as the one who saved it calls it
        async with self._switch:
            if self.powered:
                raise LabError("a board that is on cannot go on from a snapshot")
            reader, writer = os.pipe()
            with contextlib.suppress(OSError):
                fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 1 << 20)
            fed = asyncio.create_task(asyncio.to_thread(snapshot.feed, writer))
            try:
                try:
                    qemu = await self._start(reader)
                finally:
                    os.close(reader)
                await migration.load(qemu, fed)
            except SharelabError as error:
                self.event(f"snapshot {name} is of no use, removed: {error}")
                if self._qemu is not None:
                    await self._qemu.kill()
                await self._settled()
                store.remove(snapshot.key)
                raise
            finally:
                await fed
            self.event(f"the board goes on from snapshot {name}")

    async def off(self) -> None:
        """Cut the power, at once and whatever the board is doing; nothing where it is off.

        Raises LabError where QEMU cannot be killed.
        """
        # Before the lock: a start that hangs must not keep anyone waiting.
        await self._cut()
        async with self._switch:
            await self._cut()  # what a start that was under way has made meanwhile
            await self._settled()

    async def _cut(self) -> None:
        if self._qemu is not None and self._qemu.alive:
            self.event("power off")
            await self._qemu.kill()

    def _arguments(self) -> Callable[[int, int], list[str]]:
        plan = BoardPlan(**{**vars(self._plan), "ssh_port": self.ports.ssh})
        return lambda console, qmp: arguments(plan, tftp=self._tftp, console=console, qmp=qmp)

    async def _watched(self, qemu: Qemu) -> None:
        status = await qemu.ended
        await qemu.finish()
        self._console.unplug()
        how = f"by {signal.Signals(-status).name}" if status < 0 else f"with exit status {status}"
        self.event(f"QEMU ended {how}")

    async def _settled(self) -> None:
        """Wait until an ended QEMU is cleaned up."""
        watch, self._watch = self._watch, None
        if watch is not None:
            await watch
