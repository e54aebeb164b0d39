"""A real coordinator and real exporters, as processes of their own."""

from __future__ import annotations

import os
import re
import select
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from lab.base import dirs

BIN = Path(sys.executable).parent
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(dirs.root()), "PYTHONUNBUFFERED": "1", "COLUMNS": "200"}


def lab(*words: object, cwd: Path, timeout: float = 60, **more: str) -> subprocess.CompletedProcess[str]:
    """The real command in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "lab.cli", *map(str, words)],
        cwd=cwd,
        env={**ENVIRONMENT, **more},
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


@contextmanager
def process(
    command: Sequence[object], *, cwd: Path, ready: str, timeout: float = 30, log: str = "log", **more: str
) -> Iterator[re.Match[str]]:
    """A process that is ended with the block; what of its output matched ``ready``."""
    with (cwd / log).open("ab") as output:
        started = subprocess.Popen(
            [str(word) for word in command],
            cwd=cwd,
            env={**ENVIRONMENT, **more},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        deadline = time.monotonic() + timeout
        while not (found := re.search(ready, (cwd / log).read_text())):
            assert started.poll() is None, (cwd / log).read_text()
            assert time.monotonic() < deadline, f"no '{ready}' in {timeout} s:\n{(cwd / log).read_text()}"
            select.select([], [], [], 0.02)
        yield found
    finally:
        started.terminate()
        try:
            started.wait(10)
        except subprocess.TimeoutExpired:
            started.kill()
            started.wait()


@dataclass
class Bench:
    """A coordinator in a folder of its own, and the exporters that a test adds."""

    folder: Path
    address: str
    stack: ExitStack = field(repr=False)

    def exporter(self, name: str, text: str) -> None:
        """Start an exporter that offers what ``text`` (its YAML) says."""
        path = self.folder / f"{name}.yaml"
        path.write_text(text)
        self.run([BIN / "labgrid-exporter", "-c", self.address, "-n", name, "--hostname", "127.0.0.1", path])

    def run(self, command: Sequence[object]) -> None:
        """Start an exporter by its whole command."""
        log = f"exporter-{len(list(self.folder.glob('exporter-*')))}.log"
        self.stack.enter_context(process(command, cwd=self.folder, ready="Exporter ready", log=log))

    def lab(self, *words: object, **more: str) -> subprocess.CompletedProcess[str]:
        """The ``lab`` command with this coordinator."""
        return lab(*words, cwd=self.folder, LG_COORDINATOR=self.address, **more)

    def client(self, *words: str) -> str:
        """What labgrid's own client says."""
        done = subprocess.run(
            [BIN / "labgrid-client", *words],
            env={**ENVIRONMENT, "LG_COORDINATOR": self.address},
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    """An empty lab."""
    folder = tmp_path / "coordinator"
    folder.mkdir()
    command = [BIN / "labgrid-coordinator", "-l", "127.0.0.1:0"]
    with ExitStack() as stack:
        found = stack.enter_context(process(command, cwd=folder, ready=r"listening on (\S+:\d+)\n"))
        yield Bench(folder, found[1], stack)
