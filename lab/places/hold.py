"""A command that runs on a leased place, and not a moment longer than the lease."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence

from lab.base.errors import ConfigError
from lab.base.proc import die_with_parent
from lab.places.held import Lease

KILL_AFTER = 5.0


def run_command(lease: Lease, command: Sequence[str], say: Callable[[str], None]) -> int:
    """Run ``command`` in labgrid's environment of ``lease``; its exit status, 128 + N after signal N.

    It has the terminal, and is a process group of its own. Where the lease is lost the group gets
    SIGTERM, and SIGKILL five seconds later; SIGTERM and SIGHUP that this process gets are passed on; and
    should this process be killed, the kernel kills the command.

    Raises ConfigError where there is no such program.
    """
    terminal = _terminal()
    over = threading.Event()
    forward = _Forward()
    # Before the command starts: what comes while it does is for it, too.
    before = {number: signal.signal(number, forward) for number in (signal.SIGTERM, signal.SIGHUP)}
    process = None
    try:
        process = _start(lease, command)
        forward.to(process.pid)
        arguments = (lease, process.pid, over, say)
        threading.Thread(target=_end_when_lost, args=arguments, daemon=True).start()
        if terminal is not None:
            _to_foreground(terminal, process.pid)
        return _wait(process, terminal, say)
    finally:
        over.set()
        if process is not None:
            _signal_group(process.pid, signal.SIGKILL)
        if terminal is not None:
            _to_foreground(terminal, os.getpgrp())
        for number, handler in before.items():
            signal.signal(number, handler)


def _start(lease: Lease, command: Sequence[str]) -> subprocess.Popen[bytes]:
    try:
        return subprocess.Popen(
            command,
            env={**os.environ, **lease.labgrid_environment()},
            preexec_fn=die_with_parent,
            process_group=0,
        )
    except OSError as error:  # also a script whose first line names no interpreter
        raise ConfigError(f"'{command[0]}' cannot be run ({error.strerror})") from None


def _wait(process: subprocess.Popen[bytes], terminal: int | None, say: Callable[[str], None]) -> int:
    while True:
        _, status = os.waitpid(process.pid, os.WUNTRACED)
        if not os.WIFSTOPPED(status):
            break
        say("it cannot be suspended, for the board stays yours meanwhile: going on")
        if terminal is not None:
            _to_foreground(terminal, process.pid)
        _signal_group(process.pid, signal.SIGCONT)
    code = os.waitstatus_to_exitcode(status)
    process.returncode = code
    return code if code >= 0 else 128 - code


def _end_when_lost(lease: Lease, group: int, over: threading.Event, say: Callable[[str], None]) -> None:
    while not over.is_set():
        if lease.lost.wait(0.2):
            break
    if over.is_set():
        return
    say(f"{lease.place} is no longer yours: {lease.lost_reason}")
    _signal_group(group, signal.SIGTERM)
    if not over.wait(KILL_AFTER):
        _signal_group(group, signal.SIGKILL)


class _Forward:
    """A signal handler that passes signals on to a process group, as soon as there is one."""

    def __init__(self) -> None:
        self._group: int | None = None
        self._early: list[int] = []

    def __call__(self, number: int, _: object) -> None:
        if self._group is None:
            self._early.append(number)
        else:
            _signal_group(self._group, number)

    def to(self, group: int) -> None:
        """From now on to ``group``; what has come before, at once."""
        self._group = group
        for number in self._early:
            _signal_group(group, number)


def _signal_group(group: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):  # it has ended
        os.killpg(group, number)


def _terminal() -> int | None:
    """The terminal that the command is to have, where we have it ourselves."""
    try:
        number = sys.stdin.fileno()
        return number if os.isatty(number) and os.tcgetpgrp(number) == os.getpgrp() else None
    except (OSError, ValueError):
        return None


def _to_foreground(terminal: int, group: int) -> None:
    """Give the terminal to a process group: who does so from the background must ignore SIGTTOU."""
    before = signal.signal(signal.SIGTTOU, signal.SIG_IGN)
    try:
        with contextlib.suppress(OSError):  # the group has ended, or the terminal has
            os.tcsetpgrp(terminal, group)
    finally:
        signal.signal(signal.SIGTTOU, before)
