"""Start one pytest process per board, listen to it, and see that none outlives the run.

labgrid's steps, pexpect and the coordinator session are global to a process, hence a process each.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lab.base import dirs
from lab.base.errors import LabError
from lab.base.proc import die_with_parent
from lab.boards import Target
from lab.results.folder import RunFolder
from lab.runs.events import read_events
from lab.runs.request import Request

GRACE = 15.0
"""Seconds that an interrupted pytest process may take to switch its board off and write its last result."""

PYTEST_RAN = (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED, pytest.ExitCode.NO_TESTS_COLLECTED)
"""Exit codes after which the result log says what happened."""

IDLE_PLUGINS = ("cacheprovider", "hypothesispytest", "timeout")
"""Plugins of the development tools: loading them costs a run a third of a second."""

Listener = Callable[[dict[str, Any]], None]


def run_target(request: Request, target: Target, folder: Path, listen: Listener) -> None:
    """Run the suites of ``request`` on one board of ``target``.

    ``listen`` gets each event (`lab.runs.session` and `lab.runs.lab` send them). Results go to the
    log of the run's ``folder``, what pytest prints to ``pytest-TARGET.log`` beside it. Raises
    LabError with its last lines when pytest itself broke.
    """
    log = folder / f"pytest-{target.name}.log"
    read_end, write_end = os.pipe()
    environment = {**os.environ, "PYTHONUNBUFFERED": "1", "COLUMNS": "120"}
    with log.open("w") as output, os.fdopen(read_end) as events:
        process = subprocess.Popen(
            _command(request, target, folder, write_end),
            cwd=dirs.root(),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=environment,
            pass_fds=[write_end],
            process_group=0,  # Ctrl-C reaches it once, from here, and not the rack below it
            preexec_fn=die_with_parent,
        )
        os.close(write_end)
        try:
            for event in read_events(events):
                listen(event)
            code = process.wait()
        except BaseException:
            _stop(process)
            raise
    if code not in PYTEST_RAN:
        raise LabError(f"{target.name}: pytest ended with code {code}", hint=_tail(log))


def _command(request: Request, target: Target, folder: Path, events: int) -> list[str]:
    command = [sys.executable, "-m", "pytest", *map(str, request.suites)]
    command += ["--rootdir", str(dirs.root()), "-o", "addopts=", "--tb=short", "-v"]
    command += [word for plugin in IDLE_PLUGINS for word in ("-p", f"no:{plugin}")]
    command += ["--lg-env", str(target.path)]
    command += ["--lab-results", str(RunFolder(folder).log), "--lab-run", request.id]
    command += ["--lab-events", str(events)]
    if request.iommu:
        command += ["--iommu", request.iommu]
    if request.keyword:
        command += ["-k", request.keyword]
    return command


def _stop(process: subprocess.Popen[bytes]) -> None:
    """Interrupt pytest as Ctrl-C would; kill it if it does not end in time."""
    process.send_signal(signal.SIGINT)
    try:
        process.wait(timeout=GRACE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _tail(log: Path, lines: int = 15) -> str:
    return "\n" + "\n".join(log.read_text(errors="replace").splitlines()[-lines:]) + f"\n(all of it: {log})"
