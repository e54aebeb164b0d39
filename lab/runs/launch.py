"""Start one pytest process per board, listen to it, and see that none outlives the run.

labgrid's steps, pexpect and the coordinator session are global to a process, hence a process each.
The process gets ready on its own (labgrid imported, target checked, virtual rack up) while ``lab run``
still checks the rest and builds images; nothing is switched on before `BoardProcess.go`. It needs no
order to begin with its imports, so `spawn_early` starts it before the command line is even read. That is
why this module imports hardly anything: it has to start the process first.

On a place of a lab, ``lab run`` keeps the lease: the process asks for it before each test, and is told
when it is lost (`lab.runs.holding` is its end of that).
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from lab.base import dirs
from lab.base.errors import ConfigError, LabError
from lab.runs.events import Diary, read_events
from lab.runs.request import Request

if TYPE_CHECKING:
    from lab.places import Lease

GRACE = 15.0
"""Seconds that an interrupted pytest process may take to switch its board off and write its last result."""

PYTEST_RAN = (0, 1, 5)
"""Exit codes after which the result log says what happened: passed, failed, no tests (pytest.ExitCode)."""

READY, REFUSED, PLANNED = "ready", "refused", "planned"
"""What a board's process says of itself: it waits; its target cannot be used; cells are written."""

ASK, HELD, LOST = "ask", "held", "lost"
"""About the lease of a place: whether it still holds, and the two answers."""

HANDS_OFF = 2.0
"""Seconds after which a board's process that lost its lease is killed."""

OWN_OPTIONS = ("PYTEST_ADDOPTS", "PYTEST_PLUGINS")
"""Variables by which a user tells his own pytest something; the suites' is none of his."""

Listener = Callable[[dict[str, Any]], None]


class _Spawned:
    """A process that waits for its order, and what comes from it."""

    def __init__(self) -> None:
        self.output = tempfile.TemporaryFile()  # noqa: SIM115 (closed with the process)
        read_end, write_end = os.pipe()
        self.events = os.fdopen(read_end)
        kept = {name: value for name, value in os.environ.items() if name not in OWN_OPTIONS}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "lab.runs.board_process", str(write_end), str(os.getpid())],
            cwd=dirs.root(),
            stdin=subprocess.PIPE,
            stdout=self.output,
            stderr=subprocess.STDOUT,
            env={**kept, "PYTHONUNBUFFERED": "1", "COLUMNS": "120"},
            pass_fds=[write_end],
            process_group=0,  # Ctrl-C reaches it once, from here, and not the rack below it
        )
        os.close(write_end)


_early: list[_Spawned] = []


def spawn_early() -> None:
    """Start the process of the next `BoardProcess` now. Without an order it ends with this process."""
    _early.append(_Spawned())


class BoardProcess:
    """The process that will run the suites of a request on one board. Use as a context manager."""

    def __init__(self, request: Request, target: str, *, leased: bool = False) -> None:
        """``leased``: the place is not known yet, `go` gets a lease of it."""
        self.target = target
        spawned = _early.pop() if _early else _Spawned()
        self._output, self._process = spawned.output, spawned.process
        self._events = read_events(spawned.events)
        self._pytest = [*map(str, request.suites), *(["-k", request.keyword] if request.keyword else [])]
        order = {
            "target": target,
            "iommu": request.iommu,
            "vmm": request.vmm,
            "own": request.own.plain() if request.own else {},
            "snapshot": request.snapshot,
            "switch": request.switch,
            "run": request.id,
            "leased": leased,
        }
        self._try_to_tell(order)  # where it has ended already, `ready` says so

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End it if it still runs: as Ctrl-C would, then by force."""
        self.end()
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._output.close()

    def end(self, grace: float = GRACE) -> None:
        """From any thread: have the board switched off and the process ended, by force after ``grace`` s."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)
            try:
                self._process.wait(timeout=grace)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()

    def ready(self) -> None:
        """Wait until it is ready. ConfigError where its target cannot be used, LabError where it broke."""
        event = next(self._events, {"event": ""})
        if event["event"] == READY:
            return
        if event["event"] == REFUSED:
            raise (ConfigError if event["config"] else LabError)(event["message"])
        self._process.wait()
        raise LabError(f"{self.target}: its process ended early", hint=self._said())

    def plan(self, folder: Path, log: Path, listen: Listener) -> None:
        """Write down in ``log`` which cells there will be. Files and errors as for `go`."""
        from lab.results.folder import RunFolder  # not before the process is started

        output = self._output_of(folder)
        self._tell({"plan": {"output": str(output), "results": str(log), "pytest": self._pytest}})
        diary = Diary(RunFolder(folder).events, self.target)
        for event in self._events:
            if event["event"] == PLANNED:
                return
            diary.note(event)
            listen(event)
        raise LabError(f"{self.target}: its tests could not be collected", hint=f"see {output}")

    def go(
        self,
        folder: Path,
        log: Path,
        listen: Listener,
        *,
        lease: Lease | None = None,
        only: Sequence[tuple[str, str, int]] | None = None,
        retries: int | None = None,
        planned: bool = False,
    ) -> None:
        """Boot, and run the suites; return when all is done and the board is off.

        ``listen`` gets each event (`lab.runs.session` and `lab.runs.lab` send them). Results go to
        the file ``log``, what pytest prints to ``pytest-TARGET.log`` in ``folder``. ``lease`` of the
        place; ``only``, ``retries`` and ``planned`` are `lab.runs.session.Session`'s. Raises LabError
        with its last lines when pytest itself broke.
        """
        from lab.results.folder import RunFolder

        kept = RunFolder(folder)
        output = self._output_of(folder)
        order = {
            "output": str(output),
            "results": str(log),
            "console": str(kept.console(self.target)),
            "pytest": self._pytest,
            "labgrid": lease.labgrid_environment() if lease is not None else {},
            "only": only,
            "retries": retries,
            "planned": planned,
        }
        diary = Diary(kept.events, self.target)
        self._tell({"go": order})
        for event in self._events:
            if event["event"] == ASK and lease is not None:
                self._answer(lease)
            elif event["event"] == REFUSED:
                raise (ConfigError if event["config"] else LabError)(event["message"])
            else:
                diary.note(event)
                listen(event)
        diary.note({"event": "end"})
        code = self._process.wait()
        if lease is not None and lease.lost.is_set():
            return  # it may have been killed; what it did not measure has no result
        if code not in PYTEST_RAN:
            tail = "\n".join(output.read_text(errors="replace").splitlines()[-15:]) if output.exists() else ""
            hint = f"\n{tail}\n(all of it: {output})" if tail else self._said()
            raise LabError(f"{self.target}: pytest ended with code {code}", hint=hint)

    def lost(self, reason: str) -> None:
        """From any thread: its place is not ours any more. It lets go of the board and ends, or is killed."""
        self._try_to_tell({LOST: reason})
        timer = threading.Timer(HANDS_OFF, self._process.kill)
        timer.daemon = True
        timer.start()

    def _answer(self, lease: Lease) -> None:
        from lab.places import LeaseLostError

        try:
            lease.check()
        except LeaseLostError as error:
            self._try_to_tell({LOST: str(error)})
        else:
            self._try_to_tell({HELD: lease.place})

    def _tell(self, message: dict[str, Any]) -> None:
        if not self._try_to_tell(message):
            self._process.wait()
            raise LabError(f"{self.target}: its process ended early", hint=self._said()) from None

    def _try_to_tell(self, message: dict[str, Any]) -> bool:
        """One line, in one piece: two threads may speak."""
        assert self._process.stdin is not None
        try:
            os.write(self._process.stdin.fileno(), json.dumps(message).encode() + b"\n")
        except (BrokenPipeError, ValueError):  # it has ended, or was ended from here
            return False
        return True

    def _output_of(self, folder: Path) -> Path:
        """A target may be named by its file: that is no folder here (as `RunFolder.console` has it)."""
        return folder / f"pytest-{self.target.replace('/', '-')}.log"

    def _said(self) -> str:
        """The last lines that it wrote before it had a file for them."""
        self._output.seek(0)
        return "\n".join(self._output.read().decode(errors="replace").splitlines()[-15:])
