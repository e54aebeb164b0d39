"""The agent over a real execnet gateway: a Python of this machine in the board's place."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import execnet
import pytest

from lab.agent import ship
from lab.agent.server import CALLS


class Remote:
    def __init__(self, channel: Any) -> None:
        self.channel = channel
        self.number = 0

    def send(self, name: str, **arguments: Any) -> int:
        self.number += 1
        self.channel.send((self.number, name, arguments))
        return self.number

    def call(self, name: str, **arguments: Any) -> Any:
        number = self.send(name, **arguments)
        answered, outcome, value = self.channel.receive(timeout=20)
        assert answered == number
        return outcome, value


@pytest.fixture(scope="module")
def remote() -> Iterator[Remote]:
    group = execnet.Group()
    # -S -E -I: nothing of this project or of its environment can be imported there but what is shipped.
    gateway = group.makegateway("popen//python=python3 -I -S -B")
    channel = gateway.remote_exec(ship.boot_source())
    ship.ship(channel)
    yield Remote(channel)
    group.terminate(timeout=5)


def test_hello(remote: Remote) -> None:
    outcome, value = remote.call("hello")
    assert outcome == "ok"
    assert value["uptime"] > 0
    assert len(value["boot_id"]) == 36


def test_every_call_is_there_and_imports_nothing_but_the_standard_library(remote: Remote) -> None:
    """A call with an argument that it does not have fails in that call, after its module was imported."""
    for name in CALLS:
        outcome, value = remote.call(name, no_such_argument=1)
        assert (outcome, value["type"]) == ("error", "TypeError"), value
        assert name in value["message"]


def test_unknown_call(remote: Remote) -> None:
    outcome, value = remote.call("nonsense")
    assert (outcome, value["type"]) == ("error", "LookupError")
    assert "nonsense" in value["message"]


def test_unknown_handle(remote: Remote) -> None:
    outcome, value = remote.call("read", handle=99)
    assert (outcome, value["type"]) == ("error", "LookupError")
    assert "99" in value["message"]
    assert "lab/agent/handles.py" in value["traceback"]


def test_an_errno_comes_back(remote: Remote) -> None:
    outcome, value = remote.call("run", argv=["/nowhere"])
    assert (outcome, value["type"], value["errno"]) == ("error", "FileNotFoundError", 2)


def test_run(remote: Remote) -> None:
    outcome, value = remote.call("run", argv=["sh", "-c", "cat; echo bad >&2; exit 3"], stdin=b"\x00good")
    assert (outcome, value) == ("ok", {"rc": 3, "stdout": b"\x00good", "stderr": b"bad\n"})


def test_run_kills_what_does_not_end_and_its_children(remote: Remote) -> None:
    began = time.monotonic()
    outcome, value = remote.call("run", argv=["sh", "-c", "echo so far; sleep 60 | cat"], timeout=0.3)
    assert (outcome, value["type"]) == ("error", "TimeoutError")
    assert "so far" in value["message"]
    assert time.monotonic() - began < 30  # and not the minute that the grandchild would hold the pipe


def test_ping_is_answered_while_a_call_runs(remote: Remote) -> None:
    call = remote.send("run", argv=["sleep", "1"])
    ping = remote.send("ping")
    answers = [remote.channel.receive(timeout=20)[0] for _ in range(2)]
    assert answers == [ping, call]


def test_share_refuses_what_cannot_be_meant(remote: Remote) -> None:
    for arguments in (
        {"stream": b"123", "sizes": [2], "allocator": "vgem", "node": "/dev/video0"},
        {"stream": b"", "sizes": [], "allocator": "vgem", "node": "/dev/video0"},
        {"stream": b"123", "sizes": [3], "allocator": "vgem"},
        {"stream": b"123", "sizes": [3], "allocator": "decoder-mmap", "device": "x", "copy_control": True},
    ):
        outcome, value = remote.call("share", **arguments)
        assert (outcome, value["type"]) == ("error", "ValueError")


def test_reset_with_nothing_open(remote: Remote) -> None:
    assert remote.call("reset") == ("ok", [])
