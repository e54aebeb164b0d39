"""Running a program on the board."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def run(argv: list[str], timeout: float = 60.0, stdin: bytes = b"") -> dict[str, Any]:
    """Run ``argv`` (no shell) and return ``{"rc", "stdout", "stderr"}``, the output as bytes.

    After ``timeout`` seconds the program and what it started are killed: ``TimeoutError`` (with its output's
    end in the message). ``FileNotFoundError`` if there is no such program.
    """
    import os
    import signal
    import subprocess

    pipe = subprocess.PIPE
    process = subprocess.Popen(argv, stdin=pipe, stdout=pipe, stderr=pipe, start_new_session=True)
    try:
        out, err = process.communicate(stdin, timeout)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        out, err = process.communicate()
        tail = (out + err)[-300:].decode(errors="replace").strip()
        raise TimeoutError(f"{argv[0]} did not end within {timeout:g} s and was killed: ...{tail}") from None
    return {"rc": process.returncode, "stdout": out, "stderr": err}
