"""`lab console` in a real terminal, on a place whose serial port is a socket of the test."""

from __future__ import annotations

import os
import pty
import socketserver
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pexpect
import pytest
from pexpect.fdpexpect import fdspawn

from lab.base import dirs
from lab.places import Session, connect
from tests.lightlab import LightLab

ESCAPE = "\x1d"


class Board(socketserver.StreamRequestHandler):
    """Answers each line that it gets."""

    def handle(self) -> None:
        for line in self.rfile:
            self.wfile.write(b"board heard " + line)


@pytest.fixture
def session(tmp_path: Path) -> Iterator[Session]:
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Board) as board, LightLab(tmp_path) as lab:
        board.daemon_threads = True
        threading.Thread(target=board.serve_forever, daemon=True).start()
        resources = {
            "NetworkPowerPort": {"model": "rest", "host": "http://127.0.0.1:9/none", "index": "0"},
            "NetworkSerialPort": {"host": "127.0.0.1", "port": board.server_address[1], "protocol": "raw"},
            "NetworkService": {"address": "127.0.0.1", "username": "root", "port": 9},
            "TFTPProvider": {"internal": "/nowhere/", "external": ""},
        }
        lab.start_exporter("light", {"desk-1": resources})
        with connect(lab.address, user="test") as found:
            lab.add_places(found, "desk-1", target="virt-cma")
            lab.lab_says("reserve", "name=desk-1", "--for", "1h", "--wait", "20s", user="anna")
            found.lab = lab  # type: ignore[attr-defined]
            yield found
        board.shutdown()


class Terminal:
    """``lab console`` in a terminal. Not by pexpect.spawn: it forks, which gRPC's threads do not survive."""

    def __init__(self, session: Session) -> None:
        environment = {**session.lab.environment, "LG_USERNAME": "anna", "PYTHONPATH": str(dirs.root())}
        ours, theirs = pty.openpty()
        words = [sys.executable, "-m", "lab.cli", "console"]
        self._process = subprocess.Popen(words, env=environment, stdin=theirs, stdout=theirs, stderr=theirs)
        os.close(theirs)
        self._screen = fdspawn(ours, timeout=30, encoding="utf-8")

    def expect(self, *patterns: str) -> None:
        """These come, one after the other."""
        for pattern in patterns:
            self._screen.expect(pattern)

    def type(self, keys: str) -> None:
        """Press them."""
        self._screen.send(keys)

    def end(self) -> int:
        """It ends by itself; its exit status."""
        self._screen.expect(pexpect.EOF)
        return self._process.wait(30)


def test_console_shows_what_was_said_before_and_is_disconnected_by_a_kick(session):
    first = Terminal(session)
    first.expect("Ctrl-\\] leaves it")
    first.type("hello\n")
    first.expect("board heard hello")
    first.type(ESCAPE)
    first.expect("left the console")
    assert first.end() == 0
    assert session.place("desk-1").acquired, "leaving a console leaves the board as it is"

    second = Terminal(session)
    second.expect("earlier", "board heard hello", "now:")
    session.kick("desk-1")
    begin = time.monotonic()
    second.expect("no longer yours")
    print(f"disconnected {time.monotonic() - begin:.2f} s after the kick")
    assert second.end() == 3
