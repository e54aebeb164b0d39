"""A lab of light places for tests: labgrid's real coordinator and exporters; resources are plain data."""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType

from lab.base import dirs
from lab.places import Health, Session

TIMEOUT = 60.0
# Not by preexec_fn, with it Python uses fork(2): gRPC's handlers then break the child (grpc/grpc#43055).
DIE_WITH_US = ["setpriv", "--pdeathsig", "KILL"]
ENVIRONMENT = {"PYTHONUNBUFFERED": "1", "GRPC_ENABLE_FORK_SUPPORT": "0"}


class LightLab:
    """One coordinator and its exporters, by name; each can be killed and comes back at the same address."""

    def __init__(self, folder: Path, coordinator: str = "labgrid.remote.coordinator") -> None:
        """``coordinator``: the module that is it."""
        self.coordinator = coordinator
        self.folder = folder
        self.address = f"127.0.0.1:{free_port()}"
        self.processes: dict[str, subprocess.Popen[str]] = {}
        self.environment = {
            **os.environ,
            **ENVIRONMENT,
            "PYTHONPATH": str(dirs.root()),
            "LG_COORDINATOR": self.address,
            "LG_HOSTNAME": "testhost",
            "XDG_STATE_HOME": str(folder / "state"),
            "XDG_RUNTIME_DIR": str(folder / "run"),
        }
        (folder / "run").mkdir(parents=True, exist_ok=True)
        self.start_coordinator()

    def start_coordinator(self) -> None:
        """It keeps its places in a folder of its own, as a real one does."""
        state = self.folder / "coordinator"
        state.mkdir(exist_ok=True)
        words = [sys.executable, "-m", self.coordinator, "-l", self.address]
        self._start("coordinator", words, ready="listening on", cwd=state)

    def start_exporter(self, name: str, groups: Mapping[str, Mapping[str, Mapping[str, object]]]) -> None:
        """``groups``: group -> class -> parameters."""
        path = self.folder / f"{name}.yaml"
        path.write_text(json.dumps(groups))
        self.restart_exporter(name)

    def start_light_exporter(self, *names: str) -> None:
        """An exporter ``light`` with one resource for each of ``names``: an address that nobody goes to."""
        service = {"NetworkService": {"address": "127.0.0.1", "username": "root"}}
        self.start_exporter("light", dict.fromkeys(names, service))

    def restart_exporter(self, name: str) -> None:
        """Start the exporter with the file that it had."""
        words = [sys.executable, "-m", "labgrid.remote.exporter", "-c", self.address, "-n", name]
        words += ["--hostname", "127.0.0.1", str(self.folder / f"{name}.yaml")]
        self._start(name, words)

    def start_janitor(self, name: str = "janitor") -> None:
        """``lab janitor``; there may be several, under different names."""
        self._start(name, [sys.executable, "-m", "lab.cli", "janitor"])

    def kill(self, name: str, number: int = signal.SIGKILL) -> None:
        """End a process, at once."""
        process = self.processes.pop(name)
        process.send_signal(number)
        process.wait(TIMEOUT)

    def add_places(self, session: Session, *names: str, exporter: str | None = "light", **tags: str) -> None:
        """Healthy places; each matches the group of its name at ``exporter``, or is a pure lock."""
        for name in names:
            matches = [f"{exporter}/{name}/*"] if exporter else []
            session.create(name, {"soc": "rk3588", **tags}, matches)
            session.set_health(name, Health.HEALTHY)

    def lab(self, *words: str, user: str, **more: str) -> subprocess.Popen[str]:
        """Run ``lab WORDS`` as ``user``; standard output and error come together."""
        return subprocess.Popen(
            [*DIE_WITH_US, sys.executable, "-m", "lab.cli", *words],
            env={**self.environment, "LG_USERNAME": user, **more},
            text=True,
            bufsize=1,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )

    def lab_says(self, *words: str, user: str = "test", status: int = 0) -> str:
        """Everything that ``lab WORDS`` prints; it must end with ``status``."""
        process = self.lab(*words, user=user)
        text = process.communicate(timeout=TIMEOUT)[0]
        assert process.returncode == status, text
        return text

    def close(self) -> None:
        """End all processes."""
        for name in list(self.processes):
            self.kill(name)

    def __enter__(self) -> LightLab:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _start(self, name: str, words: list[str], *, ready: str = "", cwd: Path | None = None) -> None:
        log = (self.folder / f"{name}.log").open("a+", encoding="utf-8")
        start = log.seek(0, os.SEEK_END)
        process = subprocess.Popen(
            [*DIE_WITH_US, *words],
            cwd=cwd,
            env=self.environment,
            text=True,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
        self.processes[name] = process
        deadline = time.monotonic() + TIMEOUT
        while ready:
            log.seek(start)
            if ready in log.read():
                break
            assert process.poll() is None, f"{name} ended: {Path(log.name).read_text()[-2000:]}"
            assert time.monotonic() < deadline, f"{name} is not ready"
            time.sleep(0.02)
        log.close()


def free_port() -> int:
    """A port that nobody has now."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


def read_until(process: subprocess.Popen[str], words: str, timeout: float = TIMEOUT) -> tuple[str, float]:
    """What a process prints up to the line that has ``words``, and when that came (time.monotonic())."""
    assert process.stdout is not None
    deadline = time.monotonic() + timeout
    said = ""
    while time.monotonic() < deadline:
        if select.select([process.stdout], [], [], 0.1)[0]:
            line = process.stdout.readline()
            if not line:
                break
            said += line
            if words in line:
                return said, time.monotonic()
    raise AssertionError(f"'{words}' was not said within {timeout} s, but: {said}")


def eventually(condition, timeout: float = TIMEOUT, said=str):  # type: ignore[no-untyped-def]
    """What ``condition`` returns once it is true; where it does not become true, ``said()`` says more."""
    deadline = time.monotonic() + timeout
    while not (found := condition()):
        assert time.monotonic() < deadline, f"it did not become true\n{said()}"
        time.sleep(0.05)
    return found
