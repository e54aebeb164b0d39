"""Running programs on the board: to their end, or beside other calls."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from subprocess import Popen
    from typing import IO, Any

    Running = tuple[Popen[bytes], IO[bytes], IO[bytes]]

_running: dict[int, Running] = {}


def run(argv: list[str], timeout: float = 60.0, stdin: bytes = b"") -> dict[str, Any]:
    """Run ``argv`` (no shell) and return ``{"rc", "stdout", "stderr"}``, the output as bytes.

    After ``timeout`` seconds the program and what it started are killed: ``TimeoutError`` (with its output's
    end in the message). ``FileNotFoundError`` if there is no such program.
    """
    return finish(start(argv, stdin), timeout)


def start(argv: list[str], stdin: bytes = b"") -> int:
    """Start ``argv`` (no shell) and return its process id, for `finish`; `reset` lets it run on.

    ``FileNotFoundError`` if there is no such program.
    """
    import subprocess
    import tempfile

    # Files, not pipes: a program that nobody reads yet must not stand still.
    given, out, err = (tempfile.TemporaryFile() for _ in range(3))  # noqa: SIM115 - closed by finish or close
    given.write(stdin)
    given.seek(0)
    with given:
        process = subprocess.Popen(argv, stdin=given, stdout=out, stderr=err, start_new_session=True)
    _running[process.pid] = process, out, err
    return process.pid


def finish(pid: int, timeout: float = 60.0) -> dict[str, Any]:
    """Wait for what `start` started and return as `run` does; killed after ``timeout`` seconds, as there.

    ``LookupError`` for a process that was not started, or was finished already.
    """
    import subprocess

    if pid not in _running:
        raise LookupError(f"no program was started as process {pid}")
    process, out, err = _running.pop(pid)
    with out, err:
        try:
            process.wait(timeout)
        except subprocess.TimeoutExpired:
            _kill(process)
            tail = (_content(out) + _content(err))[-300:].decode(errors="replace").strip()
            program = str(process.args[0])  # type: ignore[index]
            message = f"{program} did not end within {timeout:g} s and was killed: ...{tail}"
            raise TimeoutError(message) from None
        return {"rc": process.returncode, "stdout": _content(out), "stderr": _content(err)}


def close() -> None:
    """Kill whatever was started and not finished."""
    while _running:
        _, (process, out, err) = _running.popitem()
        with out, err:
            _kill(process)


def _kill(process: Popen[bytes]) -> None:
    import os
    import signal

    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _content(file: IO[bytes]) -> bytes:
    file.seek(0)
    return file.read()
