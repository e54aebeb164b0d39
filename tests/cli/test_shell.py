"""What `lab shell --guest` runs in the guest, run on this machine."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import time

import psutil
import pytest

from lab.base.errors import LabError
from lab.cli.guest_shell import END_OF_FILE, GUEST_COMMAND, GUEST_SHELL, command, print_pieces

AGENT = "import sys; exec(eval(sys.stdin.readline()))"
"""What a guest's zygote runs with a connection as its streams."""


def test_shell_has_a_terminal_of_the_size_that_was_asked_and_ends_with_its_input():
    source = GUEST_SHELL.format(rows=33, columns=77, environment={"TERM": "dumb", "PS1": "guest# "})
    with subprocess.Popen(
        [sys.executable, "-c", AGENT], stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0
    ) as process:
        process.stdin.write(f"{source!r}\n".encode())
        assert process.stdout.read(1) == b"\0", "it must say when it takes what is typed"
        process.stdin.write(b"stty size; echo $((6 * 7))\n" + END_OF_FILE)
        output = process.stdout.read().decode()
        process.wait(timeout=20)
    assert "33 77\r\n" in output
    assert "42\r\n" in output


def in_guest(*words: str) -> subprocess.Popen[bytes]:
    """The zygote's child that runs a command."""
    process = subprocess.Popen(
        [sys.executable, "-c", AGENT], stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0
    )
    assert process.stdin is not None
    process.stdin.write(f"{GUEST_COMMAND.format(command=list(words))!r}\n".encode())
    return process


@pytest.mark.parametrize(
    ("words", "status", "out", "err"),
    [
        (("sh", "-c", "echo 'a  b'; echo c >&2; exit 7"), 7, b"a  b\n", b"c\n"),
        (("sh", "-c", "kill -TERM $$"), 128 + signal.SIGTERM, b"", b""),
        (("sh", "-c", "head -c 300000 /dev/zero; wc -c </dev/stdin"), 0, bytes(300000) + b"0\n", b""),
        (("no-such-program",), 127, b"", b"no-such-program: No such file or directory\n"),
        (("/",), 126, b"", b"/: Permission denied\n"),
        (("true",), 0, b"", b""),
    ],
)
def test_command_has_its_output_and_its_exit_status(words, status, out, err):
    with in_guest(*words) as process:
        assert process.stdout is not None
        printed, complained = io.BytesIO(), io.BytesIO()
        assert print_pieces(process.stdout, printed, complained) == status
        assert (printed.getvalue(), complained.getvalue()) == (out, err)


def test_command_that_nobody_waits_for_any_more_ends():
    with in_guest("sh", "-c", "echo $$; sleep 1000") as process:
        assert process.stdin is not None
        assert process.stdout is not None
        pid = int(process.stdout.read(100)[5:])
        process.stdin.close()
        process.stdout.close()
        process.wait(timeout=20)
        end = time.monotonic() + 20
        while psutil.pid_exists(pid) and time.monotonic() < end:
            time.sleep(0.02)
        assert not psutil.pid_exists(pid)


@pytest.mark.parametrize("rest", [b"\1\0\0\0\5abc", b"\1\0\0\0\3abc", b"\1\0\0\0\3abc\0\0\0\0\1"])
def test_guest_that_goes_in_the_midst_gives_no_status(rest: bytes):
    out = io.BytesIO()
    with pytest.raises(EOFError):
        print_pieces(io.BytesIO(rest), out, io.BytesIO())
    assert out.getvalue() == b"abc", "what came is shown"


@pytest.mark.parametrize("size", [1, 1 << 20], ids=["while it is waited for", "while it is written to"])
def test_guest_that_is_gone_is_named(size: int):
    with pytest.raises(LabError, match="the guest of rock5b-1 has gone"):
        command("rock5b-1", ["sh", "-c", "exit"], ["x" * size])


def test_own_output_that_nobody_reads_is_not_the_guests_end():
    reader, writer = os.pipe()
    os.close(reader)
    pieces = io.BytesIO(b"\1\0\0\0\5abcde\0\0\0\0\1\0")
    with pytest.raises(BrokenPipeError), os.fdopen(writer, "wb", buffering=0) as out:
        print_pieces(pieces, out, io.BytesIO())
