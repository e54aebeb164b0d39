"""The terminal that `lab shell --guest` makes in the guest, made on this machine."""

from __future__ import annotations

import subprocess
import sys

from lab.cli.shell import END_OF_FILE, GUEST_SHELL

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
