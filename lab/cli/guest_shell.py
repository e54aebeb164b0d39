"""A terminal, or one command, in the guest on a board. It has no ssh: Python there does what sshd would."""

from __future__ import annotations

import io
import os
import select
import struct
import subprocess
import sys
import termios
import tty
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import IO, cast

from lab.base.errors import LabError

GUEST_SHELL = """
import fcntl, os, pty, select, struct, termios
child, terminal = pty.fork()
if child == 0:
    os.environ.update({environment!r})
    os.execv("/bin/sh", ["sh", "-i"])
os.write(1, b"\\0")  # what is typed before would have gone where the line before was read
fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", {rows}, {columns}, 0, 0))
poll = select.poll()
poll.register(0, select.POLLIN)
poll.register(terminal, select.POLLIN)
try:
    while True:
        for number, _ in poll.poll():
            data = os.read(number, 65536)
            if not data:
                raise SystemExit
            os.write(1 if number == terminal else terminal, data)
except OSError:
    pass  # the shell has ended
"""
"""Run by Python in the guest: it has no ssh, so its terminal is made there and comes over vsock."""

END_OF_FILE = b"\x04"

GUEST_COMMAND = """
import os, select, struct, subprocess
def send(stream, data):
    os.write(1, struct.pack(">BI", stream, len(data)) + data)
def run(command):
    null, pipe = subprocess.DEVNULL, subprocess.PIPE
    try:
        process = subprocess.Popen(command, stdin=null, stdout=pipe, stderr=pipe, process_group=0)
    except OSError as error:
        send(2, f"{{command[0]}}: {{error.strerror}}\\n".encode())
        return 127 if isinstance(error, FileNotFoundError) else 126
    streams = {{process.stdout.fileno(): 1, process.stderr.fileno(): 2}}
    poll = select.poll()
    for number in (0, *streams):
        poll.register(number, select.POLLIN)
    try:
        while streams:
            for number, _ in poll.poll():
                data = os.read(number, 65536)
                if data and number:
                    send(streams[number], data)
                elif not data:
                    poll.unregister(number)
                    if not streams.pop(number, None):
                        raise BrokenPipeError  # nobody waits for it any more
    except OSError:
        os.killpg(process.pid, 9)
        raise
    status = process.wait()
    return status if status >= 0 else 128 - status
send(0, bytes([run({command!r})]))
"""
"""Run by Python in the guest, with a command's words: what it writes comes in pieces, `PIECE` before each."""

PIECE = struct.Struct(">BI")
"""1 for standard output, 2 for standard error, 0 for the exit status (one byte); how many bytes follow."""


def terminal(name: str, ssh: Sequence[str]) -> None:
    """A shell in the guest of board ``name``, which ``ssh`` reaches, until it ends."""
    size = os.get_terminal_size() if sys.stdin.isatty() else os.terminal_size((80, 24))
    environment = {"TERM": os.environ.get("TERM", "dumb"), "PS1": "guest# "}
    source = GUEST_SHELL.format(rows=size.lines, columns=size.columns, environment=environment)
    with _python(name, ssh, source) as (sink, found):
        if not found.read(1):
            raise EOFError
        with _raw(sys.stdin.fileno()):
            _join(sys.stdin.fileno(), sink, found)


def command(name: str, ssh: Sequence[str], words: Sequence[str]) -> int:
    """Run a program in the guest, without input; its exit status, 128 + N after signal N."""
    with _python(name, ssh, GUEST_COMMAND.format(command=list(words))) as (_, found):
        return print_pieces(found, sys.stdout.buffer, sys.stderr.buffer)


def print_pieces(source: IO[bytes], out: IO[bytes], err: IO[bytes]) -> int:
    """Write what `GUEST_COMMAND` sends as it comes; the exit status. Raises EOFError without one."""
    buffered = io.BufferedReader(cast("io.RawIOBase", source))
    while len(head := buffered.read(PIECE.size)) == PIECE.size:
        stream, size = PIECE.unpack(head)
        data = buffered.read(size)
        if stream:
            to = out if stream == 1 else err
            to.write(data)
            to.flush()
        elif data:
            return data[0]
    raise EOFError


@contextmanager
def _python(name: str, ssh: Sequence[str], source: str) -> Iterator[tuple[IO[bytes], IO[bytes]]]:
    """Python with ``source`` in the guest: its input and output. Raises LabError at their end (EOFError)."""
    process = subprocess.Popen(
        [*ssh, "exec /usr/lib/lab/guest-connect"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        _write(process.stdin, f"{source!r}\n".encode())
        yield process.stdin, process.stdout
    except EOFError:
        raise LabError(f"the guest of {name} has gone", hint="lab vm status") from None
    finally:
        process.kill()
        process.wait()


def _write(sink: IO[bytes], data: bytes) -> None:
    """Raises EOFError where nobody reads any more: BrokenPipeError is that of one's own output."""
    try:
        sink.write(data)
    except BrokenPipeError:
        raise EOFError from None


def _join(keyboard: int, sink: IO[bytes], source: IO[bytes]) -> None:
    """Pass on what is typed and show what comes, until nothing comes any more."""
    poll = select.poll()
    poll.register(keyboard, select.POLLIN)
    poll.register(source, select.POLLIN)
    while True:
        for number, _ in poll.poll():
            data = os.read(number, 65536)
            if number == keyboard:
                _write(sink, data or END_OF_FILE)
                if not data:
                    poll.unregister(keyboard)
            elif data:
                sys.stdout.buffer.write(data)
                sys.stdout.buffer.flush()
            else:
                return


@contextmanager
def _raw(keyboard: int) -> Iterator[None]:
    """Every key goes to the guest, Ctrl-C too; nothing to do where nobody types."""
    if not os.isatty(keyboard):
        yield
        return
    before = termios.tcgetattr(keyboard)
    try:
        tty.setraw(keyboard)
        yield
    finally:
        termios.tcsetattr(keyboard, termios.TCSADRAIN, before)
