"""Start one pytest process per board, listen to it, and see that none outlives the run.

labgrid's steps, pexpect and the coordinator session are global to a process, hence a process each.
The process gets ready on its own (labgrid imported, target checked, virtual rack up) while ``lab run``
still checks the rest and builds images; nothing is switched on before `BoardProcess.go`. That is why
this module imports hardly anything: it has to start the process first.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from lab.base import dirs
from lab.base.errors import ConfigError, LabError
from lab.base.proc import die_with_parent
from lab.runs.events import read_events
from lab.runs.request import Request

GRACE = 15.0
"""Seconds that an interrupted pytest process may take to switch its board off and write its last result."""

PYTEST_RAN = (0, 1, 5)
"""Exit codes after which the result log says what happened: passed, failed, no tests (pytest.ExitCode)."""

READY, REFUSED = "ready", "refused"
"""First event of a board's process: it waits for `go`, or says why its target cannot be used."""

Listener = Callable[[dict[str, Any]], None]


class BoardProcess:
    """The process that will run the suites of a request on one board. Use as a context manager."""

    def __init__(self, request: Request, target: str) -> None:
        self.target = target
        self._output = tempfile.TemporaryFile()  # noqa: SIM115 (closed with the process)
        read_end, write_end = os.pipe()
        order = {
            "target": target,
            "iommu": request.iommu,
            "vmm": request.vmm,
            "snapshot": request.snapshot,
            "run": request.id,
            "events": write_end,
        }
        self._pytest = [*map(str, request.suites), *(["-k", request.keyword] if request.keyword else [])]
        self._events = read_events(os.fdopen(read_end))
        self._process = subprocess.Popen(
            [sys.executable, "-m", "lab.runs.board_process", json.dumps(order)],
            cwd=dirs.root(),
            stdin=subprocess.PIPE,
            stdout=self._output,
            stderr=subprocess.STDOUT,
            env={**os.environ, "PYTHONUNBUFFERED": "1", "COLUMNS": "120"},
            pass_fds=[write_end],
            process_group=0,  # Ctrl-C reaches it once, from here, and not the rack below it
            preexec_fn=die_with_parent,
        )
        os.close(write_end)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End it if it still runs: as Ctrl-C would, then by force."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)
            try:
                self._process.wait(timeout=GRACE)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._output.close()

    def ready(self) -> None:
        """Wait until it is ready. ConfigError where its target cannot be used, LabError where it broke."""
        event = next(self._events, {"event": ""})
        if event["event"] == READY:
            return
        if event["event"] == REFUSED:
            raise (ConfigError if event["config"] else LabError)(event["message"])
        self._process.wait()
        raise LabError(f"{self.target}: its process ended early", hint=self._said())

    def go(self, folder: Path, log: Path, listen: Listener) -> None:
        """Boot, and run the suites; return when all is done and the board is off.

        ``listen`` gets each event (`lab.runs.session` and `lab.runs.lab` send them). Results go to
        the file ``log``, what pytest prints to ``pytest-TARGET.log`` in ``folder``. Raises LabError
        with its last lines when pytest itself broke.
        """
        output = folder / f"pytest-{self.target}.log"
        order = {"output": str(output), "results": str(log), "pytest": self._pytest}
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(order).encode() + b"\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            self._process.wait()
            raise LabError(f"{self.target}: its process ended early", hint=self._said()) from None
        for event in self._events:
            listen(event)
        code = self._process.wait()
        if code not in PYTEST_RAN:
            tail = "\n".join(output.read_text(errors="replace").splitlines()[-15:]) if output.exists() else ""
            hint = f"\n{tail}\n(all of it: {output})" if tail else self._said()
            raise LabError(f"{self.target}: pytest ended with code {code}", hint=hint)

    def _said(self) -> str:
        """The last lines that it wrote before it had a file for them."""
        self._output.seek(0)
        return "\n".join(self._output.read().decode(errors="replace").splitlines()[-15:])
