"""The transport of the agent, against a real agent in a Python process of this machine."""

from __future__ import annotations

import os
import signal
import sys
import threading

import pytest

from lab.base.errors import BoardError, LabError
from lab.boards import CallError, LostBoardError, agent
from lab.boards.agent import Agent


@pytest.fixture
def local():
    started = Agent.connect("local", f"popen//python={sys.executable}")
    yield started
    started.close()


@pytest.fixture
def pid(local):
    return local.run([sys.executable, "-c", "import os; print(os.getppid())"])["stdout"]


def test_calls_return_plain_values(local):
    assert local.call("hello")["kernel"] == os.uname().release
    assert local.run(["cat"], stdin=b"\0\xff")["stdout"] == b"\0\xff"


def test_exception_there_is_a_board_error_with_errno_and_traceback(local):
    with pytest.raises(CallError, match="iommu: no device 'nothing'") as caught:
        local.call("iommu", device="nothing")
    assert isinstance(caught.value, BoardError)
    assert caught.value.kind == "LookupError"
    assert "lab/agent/iommu.py" in caught.value.detail, "the traceback names the agent's own source"
    local.call("hello")  # and the agent goes on


def test_unknown_call_names_the_known_ones(local):
    with pytest.raises(CallError, match=r"no call 'helo'; it has: .*hello"):
        local.call("helo")


def test_value_that_cannot_be_sent_leaves_the_agent_usable(local):
    with pytest.raises(Exception, match="can't serialize"):
        local.call("hello", what=object())
    local.call("hello")


def test_late_call_loses_the_board(local):
    with pytest.raises(LostBoardError, match=r"run did not end within 0\.2 s") as caught:
        local.request("run", {"argv": ["sleep", "30"]}, timeout=0.2)
    assert isinstance(caught.value, LabError)
    with pytest.raises(LostBoardError, match="run did not end"):
        local.call("hello")


def test_end_of_the_connection_is_told_at_once(local, pid):
    threading.Timer(0.3, os.kill, (int(pid), signal.SIGKILL)).start()
    with pytest.raises(LostBoardError, match="local: connection lost during run"):
        local.run(["sleep", "5"])


def test_stopped_process_counts_as_hung_long_before_the_timeout(local, pid, monkeypatch):
    monkeypatch.setattr(agent, "PING", 0.1)
    monkeypatch.setattr(agent, "SILENCE", 0.5)
    threading.Timer(0.3, os.kill, (int(pid), signal.SIGSTOP)).start()
    try:
        with pytest.raises(LostBoardError, match=r"local: hangs: no answer for 0\.5 s during run"):
            local.run(["sleep", "30"], timeout=30)
    finally:
        os.kill(int(pid), signal.SIGKILL)


def test_long_call_that_lives_is_waited_for(local, monkeypatch):
    monkeypatch.setattr(agent, "PING", 0.1)
    monkeypatch.setattr(agent, "SILENCE", 0.5)
    assert local.run(["sleep", "1.5"], timeout=30)["rc"] == 0


def test_agent_that_does_not_start_is_told(tmp_path):
    with pytest.raises(LostBoardError, match="the agent did not start"):
        Agent.connect("local", "popen//python=false", timeout=5)
    mute = tmp_path / "mute"
    mute.write_text("#!/bin/sh\nexec sleep 2\n")
    mute.chmod(0o755)
    with pytest.raises(LostBoardError, match=r"the agent did not start within 0\.2 s"):
        Agent.connect("local", f"popen//python={mute}", timeout=0.2)
