"""The guest in the virtual machine on a board, with an agent in it that is reached through the board."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from functools import cached_property
from typing import Any

from lab.base.errors import LabError
from lab.boards.agent import Agent
from lab.boards.errors import CallError, LostBoardError, LostGuestError, RefusedVmmError
from lab.boards.vmm import Vmm
from lab.boards.vmms import Places, command, version_command

CONNECT = "/usr/lib/lab/guest-connect"
"""The program on the board that behaves as a Python in the guest."""

PANIC = re.compile(r"Kernel panic - not syncing[^\n]*")
REFUSES = re.compile(
    r"is not a valid device model name|Device '[^']+' not found|Property '[^']+' not found|"
    r"does not accept value|invalid option|unsupported machine type"
)
"""How QEMU says that it knows no such thing (qapi, qom/object.c, system/qdev-monitor.c)."""

LOOK = 0.5
"""Seconds between two looks at a VMM whose guest boots."""
ENOENT = 2


class GuestAgent(Agent):
    """Calls functions of lab/agent in the guest."""

    loss = LostGuestError


class Guest:
    """A running guest. ``agent`` calls into it; the rest is asked of the board's agent, which it shares."""

    def __init__(self, name: str, vmm: Vmm, board: Agent) -> None:
        """Use `start`."""
        self.vmm = vmm
        self.times: dict[str, float] = {}
        """Stage (vmm, agent) -> seconds after the start was asked for."""
        self._name = name
        self._board = board
        self._agent: GuestAgent | None = None
        self._console = ""
        self._console_end = 0
        self._trace: list[str] | None = None
        self._trace_end = 0

    @classmethod
    def start(
        cls, name: str, board: Agent, destination: list[str], vmm: Vmm, places: Places, *, keep: bool = False
    ) -> Guest:
        """Start a VMM on the board that ``ssh *destination`` reaches, and wait for the agent in its guest.

        ``board`` is the agent there, which stops whatever VMM is there already. With ``keep`` this one
        outlives it. Raises LabError when the program is not on the board, LostGuestError with the guest's
        last words when the VMM, the guest or the connection to it does not come up.
        """
        guest = cls(name, vmm, board)
        wanted = command(vmm, places)
        begin = time.monotonic()
        board.call("vm_stop")
        try:
            if vmm.shown_by_agent:
                board.call("host_blob_start", socket=vmm.memory_bar)  # the VMM connects as it starts
            if vmm.video == "vfio":
                board.call("vfio_take", device=places.decoder)  # comes back when the VMM has ended
            board.call(
                "vm_start",
                argv=list(wanted.argv),
                env=wanted.env,
                folder=places.folder,
                hugepages=vmm.hugepages,
                keep=keep,
            )
        except CallError as error:
            guest.close()
            if error.errno == ENOENT:
                raise LabError(f"{name}: {wanted.argv[0]} is not on the board", hint=wanted.needs) from error
            raise LostGuestError(f"{name}: {error.message}", detail=error.detail) from error
        guest.times["vmm"] = time.monotonic() - begin
        try:
            guest._agent = guest._await(destination)
            guest._agent.call("ping", timeout=20)
        except LostBoardError as error:
            if board.lost:
                raise
            failure = guest._failure(error)
            guest.close()
            raise failure from error
        except BaseException:
            guest.close()
            raise
        guest.times["agent"] = time.monotonic() - begin
        return guest

    @classmethod
    def find(cls, name: str, board: Agent, destination: list[str], vmm: Vmm) -> Guest:
        """The guest that another agent started with ``keep``. Raises LostGuestError where none answers."""
        guest = cls(name, vmm, board)
        if not guest.status()["running"]:
            raise LostGuestError(f"{name}: no virtual machine runs", hint="lab vm start")
        if vmm.shown_by_agent and not board.call("host_blob_start", socket=vmm.memory_bar)["connected"]:
            raise LostGuestError(f"{name}: nobody shows memory to it any more")
        guest._agent = GuestAgent.start(name, destination, python=CONNECT)
        return guest

    @property
    def agent(self) -> Agent:
        """The agent in the guest."""
        if self._agent is None:
            raise LostGuestError(f"{self._name} is not up")
        return self._agent

    @cached_property
    def version(self) -> str:
        """The VMM's, in its own words: ``10.0.13``; empty where it does not say."""
        try:
            if argv := version_command(self.vmm):
                words = self._board.run(argv)["stdout"].decode(errors="replace").split()
                return " ".join(words[1:2])  # behind its name
            said = self._board.call("vm_qmp", command="query-version")["qemu"]
        except CallError:
            return ""
        return f"{said['major']}.{said['minor']}.{said['micro']}"

    def warm(self) -> None:
        """Load the driver that all its tests begin with: done before it is saved, it is done for all of them.

        Where that fails they say so themselves.
        """
        if self.vmm.gpu != "none":
            with suppress(CallError):
                self.agent.call("load", module="virtio_gpu")

    def answers(self) -> bool:
        """Whether the guest is well: its VMM runs and its agent answers."""
        try:
            self.agent.call("ping", timeout=5.0)
        except LabError:
            return False
        return True

    def check(self) -> None:
        """Raise LostGuestError, with its last words, where it is not well."""
        if not self.answers():
            status = self.status()
            what = "does not answer" if status["running"] else f"the VMM ended{_how(status)}"
            raise LostGuestError(f"{self._name}: {what}", detail=self.last_words())

    def status(self) -> dict[str, Any]:
        """What the board's agent says of the VMM: running, pid, returncode, log (its last words)."""
        status: dict[str, Any] = self._board.call("vm_status")
        return status

    def mark(self) -> int:
        """The present end of the guest's console, for `console_since`."""
        self._drain_console()
        return len(self._console)

    def console_since(self, mark: int = 0) -> str:
        """What the guest wrote to its console after ``mark``; also when it has ended."""
        self._drain_console()
        return self._console[mark:]

    def trace_mark(self) -> int:
        """The present end of the VMM's command trace, for `trace_since`."""
        self._drain_trace()
        return len(self._trace or ())

    def trace_since(self, mark: int = 0) -> list[str] | None:
        """Lines of the VMM's trace after ``mark``; None where nobody listened, which proves nothing."""
        self._drain_trace()
        return None if self._trace is None else self._trace[mark:]

    def leave(self) -> None:
        """Let go of a guest that was started with ``keep``."""
        if self._agent is not None:
            self._agent.close()

    def close(self) -> None:
        """End the guest and its VMM; what they held on the board is released. Idempotent."""
        if self._agent is not None:
            self._agent.lost = self._agent.lost or f"{self._name}: was stopped"
            self._agent.close()
        with suppress(LabError, CallError):
            self._drain_console()
            self._board.call("vm_stop", timeout=30)

    def last_words(self) -> str:
        """The last lines of the guest's console and of the VMM's own output."""
        parts: list[tuple[str, str]] = []
        with suppress(LabError, CallError):
            parts.append(("last lines of the guest's console", _tail(self.console_since())))
            parts.append(("last lines of the VMM", _tail(self.status()["log"])))
        return "\n".join(f"{title}:\n{text or '(none)'}" for title, text in parts)

    def _await(self, destination: Sequence[str]) -> GuestAgent:
        """Wait for the agent, and meanwhile for every sign that there will be none."""
        outcome: list[GuestAgent | Exception] = []

        def connect() -> None:
            try:
                outcome.append(
                    GuestAgent.start(
                        self._name, list(destination), python=CONNECT, timeout=self.vmm.timeout + LOOK
                    )
                )
            except Exception as error:  # told in the thread that waits
                outcome.append(error)

        thread = threading.Thread(target=connect, name="guest-agent", daemon=True)
        thread.start()
        end = time.monotonic() + self.vmm.timeout
        while thread.is_alive():
            thread.join(LOOK)
            if not thread.is_alive():
                break
            status = self.status()
            if not status["running"]:
                kind = RefusedVmmError if REFUSES.search(status["log"]) else LostGuestError
                raise kind(f"{self._name}: the VMM ended{_how(status)}", hint=_tail(status["log"], 1))
            if panic := PANIC.search(self.console_since()):
                raise LostGuestError(f"{self._name}: {panic.group()}")
            if time.monotonic() > end:
                raise LostGuestError(f"{self._name}: no agent within {self.vmm.timeout:g} s")
        agent = outcome[0]
        if isinstance(agent, Exception):
            raise agent
        return agent

    def _failure(self, error: LostBoardError) -> LostGuestError:
        hint = error.hint or _tail(self._console, 1)
        detail = "\n".join(text for text in (self.last_words(), error.detail) if text)
        kind = RefusedVmmError if isinstance(error, RefusedVmmError) else LostGuestError
        return kind(error.message, hint=hint, detail=detail)

    def _drain_console(self) -> None:
        with suppress(LabError):
            new = self._board.call("vm_console", mark=self._console_end)
            self._console += new["text"]
            self._console_end = new["mark"]

    def _drain_trace(self) -> None:
        new = self._board.call("vm_trace", mark=self._trace_end)
        if new["lines"] is not None:
            self._trace = [*(self._trace or ()), *new["lines"]]
            self._trace_end = new["mark"]


def _how(status: dict[str, Any]) -> str:
    code = status["returncode"]
    return "" if code is None else f" by signal {-code}" if code < 0 else f" with code {code}"


def _tail(text: str, lines: int = 20) -> str:
    return "\n".join([line for line in text.splitlines() if line.strip()][-lines:])
