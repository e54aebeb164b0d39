"""Boards and processes die at the worst moments: nothing measured is lost, nothing is left running.

Each test is one real ``lab run`` on the smallest virtual board, with a few cells.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from lab.base import dirs
from lab.base.words import Status
from lab.imaging import build
from lab.results.log import LogContents, read

pytestmark = [pytest.mark.board, pytest.mark.timeout(180)]

CELLS = "test_size"
"""Three cells; the last one decodes for two seconds, so that there is a middle to break it in."""
POLL = 0.05


class Run:
    """A ``lab run`` in a process of its own."""

    def __init__(self, folder: Path, *, cells: str = CELLS) -> None:
        build()  # not part of what is looked at here
        command = [sys.executable, "-m", "lab.cli", "run", "board", "-t", "virt-cma", "-k", cells]
        self.folder = folder
        self.process = subprocess.Popen(
            [*command, "--json", "out.json"],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(dirs.root())},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.seen: set[psutil.Process] = set()

    def children(self) -> list[psutil.Process]:
        """All processes below it, now; they are remembered."""
        try:
            found = psutil.Process(self.process.pid).children(recursive=True)
        except psutil.NoSuchProcess:
            return []
        self.seen.update(found)
        return found

    def qemu(self) -> psutil.Process | None:
        """The running board."""
        for child in self.children():
            try:
                if child.name().startswith("qemu-system"):
                    return child
            except psutil.NoSuchProcess:
                continue
        return None

    def log(self) -> LogContents:
        return read(self.folder / "results" / "latest" / "results.jsonl")

    def results(self) -> int:
        return len(self.log().results) if (self.folder / "results" / "latest").exists() else 0

    def wait_until(self, condition: Callable[[], object], what: str, seconds: float = 90) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            assert self.process.poll() is None, self.process.communicate()[0]
            assert time.monotonic() < deadline, f"no {what} within {seconds} s"
            time.sleep(POLL)

    def end(self, seconds: float = 120) -> tuple[int, str]:
        output, _ = self.process.communicate(timeout=seconds)
        return self.process.returncode, output

    def cells(self) -> list[dict[str, object]]:
        return json.loads((self.folder / "out.json").read_text())["cells"]

    def left_running(self) -> list[str]:
        _, alive = psutil.wait_procs(list(self.seen), timeout=15)
        return [" ".join(process.cmdline()) for process in alive]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Run]]:
    runs: list[Run] = []

    def begin(**options: str) -> Run:
        runs.append(Run(tmp_path, **options))
        return runs[-1]

    yield begin
    for run in runs:
        for process in [*run.children(), *run.seen]:
            if process.is_running():
                process.kill()
        run.process.kill()
        run.process.wait(timeout=10)


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP], ids=["killed", "hung"])
def test_the_cell_that_lost_its_board_is_tried_again(start, how):
    run = start()
    run.wait_until(lambda: run.results() == 2, "second result")
    time.sleep(0.7)  # into the third cell's decoding
    run.qemu().send_signal(how)
    code, output = run.end()
    assert code == 0, output
    contents = run.log()
    lost = [result for result in contents.results if result.status is Status.MISS]
    assert [result.attempt for result in lost] == [1]
    assert lost[0].verdict is None
    assert "last lines of the rack's log" in lost[0].log
    again = [r for r in contents.results if r.key == lost[0].key and r.attempt == 2]
    assert [result.status for result in again] == [Status.PASS]
    planned = {cell.key for cell in contents.runs[0].planned}
    assert {r.key for r in contents.results if r.status is Status.PASS} == planned
    assert not run.left_running()


def test_a_board_that_never_comes_up_is_missing_and_exit_code_3(start):
    run = start(cells="test_decoder_writes_into and mmap")
    while run.process.poll() is None:
        if (qemu := run.qemu()) is not None:
            qemu.kill()
        time.sleep(POLL)
    code, output = run.end()
    assert code == 3, output
    assert [cell["status"] for cell in run.cells()] == ["MISS"]
    assert run.cells()[0]["attempts"] == 2
    assert run.cells()[0]["verdict"] is None
    assert not run.left_running()


def test_ctrl_c_leaves_a_valid_result_file_and_no_process(start):
    run = start()
    run.wait_until(lambda: run.results() >= 1, "result")
    run.children()
    run.process.send_signal(signal.SIGINT)
    code, output = run.end()
    assert code == 130, output
    contents = run.log()
    assert not contents.problems
    assert contents.results
    statuses = {cell["status"] for cell in run.cells()}
    assert statuses == {"PASS", "MISS"}, "what was not measured is missing, what was is kept"
    assert not run.left_running()


def test_a_killed_run_takes_its_board_along_and_keeps_its_results(start):
    run = start()
    run.wait_until(lambda: run.results() >= 1, "result")
    run.children()
    run.process.kill()
    run.process.wait(timeout=10)
    assert not run.left_running()
    assert run.log().results
