"""The process behind ``lab up``: ``python -m lab.places.supervisor DIRECTORY``.

It keeps a coordinator, exporters and a janitor running: each that ends is started again, for labgrid's
exporter ends (status 100) whenever its coordinator does. It reads ``plan.json``, writes
``coordinator`` (the address) when that answers, prints ``ready``, and ends all of them when it is told
to end by SIGTERM. Should it be killed, the kernel kills them too.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO

from lab.base import dirs, lockfile
from lab.base.errors import LabError
from lab.base.proc import die_with_parent

START_TIMEOUT = 30.0
END_TIMEOUT = 10.0
PAUSES = (0.3, 1.0, 3.0, 10.0)
"""Seconds before a process is started again: the longer, the more often it ended at once."""
STEADY = 30.0  # seconds of running after which an end is no failed start


@dataclass(frozen=True)
class Plan:
    """What to run. ``state``: the coordinator's folder; ``exporters``: name -> configuration file."""

    listen: str
    state: str
    exporters: Mapping[str, str]


def commands(plan: Plan) -> dict[str, list[str]]:
    """Name -> command line of each process, in the order in which they are started."""
    python = [sys.executable, "-m"]
    host = plan.listen.rpartition(":")[0]
    found = {"coordinator": [*python, "lab.places.coordinator", "-l", plan.listen]}
    for name, file in plan.exporters.items():
        words = ["-c", reachable(plan.listen), "-n", name, "--hostname", reachable(host), file]
        found[f"exporter-{name}"] = [*python, "labgrid.remote.exporter", *words]
    found["janitor"] = [*python, "lab.cli", "janitor", "--coordinator", reachable(plan.listen)]
    return found


def reachable(listen: str) -> str:
    """From this machine, an address that listens on all interfaces is reached by loopback."""
    for everywhere in ("0.0.0.0", "[::]", "*"):
        if listen == everywhere or listen.startswith(f"{everywhere}:"):
            return "127.0.0.1" + listen.removeprefix(everywhere)
    return listen


class Kept:
    """One process that is started again when it ends."""

    def __init__(self, name: str, words: list[str], cwd: Path, log: Path) -> None:
        self.name = name
        self._words = words
        self._cwd = cwd
        self._log = log
        self._over = threading.Event()
        self._starting = threading.Lock()
        """Held while a process is made: one that nobody knows of yet could not be ended."""
        self._process: subprocess.Popen[bytes] | None = None
        self._thread = threading.Thread(target=self._run, name=name)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def _run(self) -> None:
        # Here and not in the caller's thread: the kernel kills a child when the thread that made it ends.
        failures = 0
        while True:
            started = time.monotonic()
            with self._log.open("ab") as log:
                process = self._begin(log)
                if process is None:
                    return
                status = process.wait()
                if self._over.is_set():
                    return
                failures = 0 if time.monotonic() - started > STEADY else failures + 1
                log.write(f"{self.name} ended with status {status}; it is started again\n".encode())
            self._over.wait(PAUSES[min(failures, len(PAUSES)) - 1] if failures else PAUSES[0])

    def _begin(self, log: IO[bytes]) -> subprocess.Popen[bytes] | None:
        """The process, started; None where it is over."""
        with self._starting:
            if self._over.is_set():
                return None
            self._process = subprocess.Popen(
                self._words,
                cwd=self._cwd,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, "PYTHONUNBUFFERED": "1"},
                preexec_fn=die_with_parent,
            )
            return self._process

    @property
    def running(self) -> bool:
        """Whether it is kept."""
        return self._thread.is_alive()

    def end(self) -> None:
        """End it, and the keeping."""
        with self._starting:
            self._over.set()
            process = self._process
        if process is not None and process.poll() is None:
            process.terminate()
        self._thread.join(END_TIMEOUT)
        if self._thread.is_alive() and process is not None:
            process.kill()
            self._thread.join()


def write_plan(directory: Path, plan: Plan) -> None:
    """Store ``plan`` for the supervisor."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    (directory / "plan.json").write_text(json.dumps(asdict(plan), indent=1))


def start(directory: Path, plan: Plan) -> None:
    """Start a supervisor in the background. Raises LabError where the coordinator does not come up."""
    write_plan(directory, plan)
    with (directory / "supervisor.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "lab.places.supervisor", str(directory)],
            cwd=dirs.root(),  # python -m looks for modules in the current folder first
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log,
            start_new_session=True,
        )
    assert process.stdout is not None
    with process.stdout:
        if process.stdout.readline().strip() != b"ready":
            process.wait()
            said = _tail(directory / "supervisor.log") or _tail(directory / "coordinator.log")
            raise LabError("the lab did not start", hint=said)


def running(directory: Path) -> int | None:
    """The process number of the supervisor that holds the lock of ``directory``."""
    path = directory / "lock"
    return int(path.read_text() or 0) or None if lockfile.held(path) else None


def end(directory: Path) -> None:
    """End the supervisor of ``directory``. Raises LabError where it does not end."""
    number = running(directory)
    if number is None:
        return
    os.kill(number, signal.SIGTERM)
    deadline = time.monotonic() + 2 * END_TIMEOUT
    while running(directory) is not None:
        if time.monotonic() > deadline:
            raise LabError(f"the lab (process {number}) does not end", hint=f"kill {number}")
        time.sleep(0.05)


def _tail(path: Path) -> str:
    try:
        lines = path.read_text(errors="replace").strip().splitlines()
    except FileNotFoundError:
        return ""
    return lines[-1] if lines else ""


def _answers(address: str, timeout: float) -> bool:
    host, _, port = reachable(address).rpartition(":")
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        try:
            socket.create_connection((host.strip("[]"), int(port)), 1.0).close()
        except OSError:
            time.sleep(0.05)
        else:
            return True
    return False


def supervise(directory: Path) -> int:
    """Run until told to end. The exit status."""
    plan = Plan(**json.loads((directory / "plan.json").read_bytes()))
    over = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: over.set())
    state = Path(plan.state)
    state.mkdir(parents=True, exist_ok=True)
    kept = [Kept(name, words, state, directory / f"{name}.log") for name, words in commands(plan).items()]
    address = directory / "coordinator"
    begun: list[Kept] = []
    try:
        for one in kept:
            one.start()
            begun.append(one)
            if one.name == "coordinator" and not _answers(plan.listen, START_TIMEOUT):
                return LabError.exit_code
        address.write_text(reachable(plan.listen))
        print("ready", flush=True)
        over.wait()
    finally:
        address.unlink(missing_ok=True)
        for one in reversed(begun):
            one.end()
    return 0


def main() -> int:
    """Entry point."""
    directory = Path(sys.argv[1])
    try:
        lock = lockfile.take(directory / "lock")
    except LabError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    os.ftruncate(lock, 0)
    os.write(lock, str(os.getpid()).encode())
    return supervise(directory)


if __name__ == "__main__":
    sys.exit(main())
