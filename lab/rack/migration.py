"""Saving a running QEMU and loading it again, by QEMU's own migration (qapi/migration.json)."""

from __future__ import annotations

import asyncio
import contextlib
import shlex
import time
from collections.abc import Awaitable
from typing import Any, TypeVar

from qemu.qmp import ExecuteError, QMPError

from lab.base.errors import LabError
from lab.rack.qemu import Qemu
from lab.rack.snapshot import Part

TIMEOUT = 120.0
"""Seconds for a save or a load; 400 MB take one or two."""

LOOK = 0.02
"""Seconds between two looks at how far QEMU is."""

UNLIMITED = 1 << 40
"""Bytes a second. QEMU sends 128 MiB/s unless told otherwise."""

T = TypeVar("T")


async def save(qemu: Qemu, part: Part) -> None:
    """Write the state of ``qemu`` into ``part``. The machine stands still meanwhile and runs on afterwards.

    Raises LabError where it cannot be saved.
    """
    received = asyncio.create_task(asyncio.to_thread(part.receive))
    try:
        await _ask(qemu, "stop")
        try:
            await _ask(qemu, "migrate-set-parameters", {"max-bandwidth": UNLIMITED})
            await _ask(qemu, "migrate", {"uri": f"exec:cat >{shlex.quote(str(part.fifo))}"})
            await _until(qemu, "query-migrate", ("completed",), ("setup", "active", "device", None))
        finally:
            with contextlib.suppress(LabError):
                await _ask(qemu, "cont")
    finally:
        part.ended()
        try:
            await received
        except OSError as error:
            raise LabError(f"the snapshot could not be written: {error.strerror}") from None


async def load(qemu: Qemu, fed: Awaitable[bool]) -> None:
    """Let ``qemu``, started to load a state, run from it.

    ``fed`` tells whether all that it was given is as it was saved. Raises LabError where it is not, or
    where QEMU could not load it; the machine has not run then.
    """
    await _until(qemu, "query-status", ("paused", "postmigrate"), ("inmigrate", "prelaunch"))
    if not await fed:
        raise LabError("the snapshot is damaged")
    await _ask(qemu, "cont")


async def _until(qemu: Qemu, command: str, done: tuple[str, ...], on_the_way: tuple[str | None, ...]) -> None:
    deadline = time.monotonic() + TIMEOUT
    while True:
        answer = await _ask(qemu, command)
        status = answer.get("status")
        if status in done:
            return
        if status not in on_the_way:
            raise LabError(f"QEMU: {command} is '{status}' {answer.get('error-desc', '')}".rstrip())
        if time.monotonic() > deadline:
            raise LabError(f"QEMU: {command} is still '{status}' after {TIMEOUT:.0f} s")
        await asyncio.sleep(LOOK)


async def _ask(qemu: Qemu, command: str, given: dict[str, Any] | None = None) -> dict[str, Any]:
    """One command of the monitor. Raises LabError also where QEMU has ended."""
    arguments: Any = given  # QMPClient's type for them is of its own
    try:
        answer: Any = await asyncio.wait_for(qemu.monitor.execute(command, arguments), TIMEOUT)
    except (QMPError, TimeoutError, OSError, EOFError) as error:
        said = str(error) or type(error).__name__
        if not isinstance(error, ExecuteError):
            await asyncio.wait({qemu.ended}, timeout=1)  # its monitor is gone before it is
        if not qemu.alive:
            said = await qemu.last_words()
        raise LabError(f"QEMU: {command}: {said}") from None
    return dict(answer)
