"""Other processes, as the agent sees them: real ones."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from lab.agent import process


def test_a_process_that_nobody_has_waited_for_has_ended():
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as other:
        watched = os.pidfd_open(other.pid)
        begun = process.start_time(other.pid)
        assert begun >= process.start_time(os.getpid()) > 0
        assert not process.ended(watched, 0)
        other.kill()
        assert process.ended(watched, 10)
        assert process.start_time(other.pid) == 0, "a zombie"
        os.close(watched)
    assert process.start_time(other.pid) == 0


def test_a_descriptor_of_another_process_is_taken():
    line = "import os; r, w = os.pipe(); print(w, flush=True); print(os.read(r, 9).decode())"
    with subprocess.Popen([sys.executable, "-c", line], stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        taken = process.take(other.pid, int(other.stdout.readline()))
        assert not os.get_inheritable(taken)
        os.write(taken, b"from here")
        os.close(taken)
        assert other.stdout.readline() == "from here\n"
        with pytest.raises(OSError, match="descriptor 999 of process"):
            process.take(os.getpid(), 999)
