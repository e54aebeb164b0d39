"""Tells a user, on the terminal where he reserved a board, that its lease is about to end.

``python -m lab.places.reminder TERMINAL COORDINATOR PLACE HOLDER UNTIL`` sleeps until ten minutes before
UNTIL (seconds since the epoch), then two; where the lease was prolonged, it sleeps on. It ends with the
lease, or the terminal.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

from lab.base import dirs

BEFORE = (600.0, 120.0)
"""Seconds before the end at which it is said."""


def start(coordinator: str, place: str, holder: str, until: float) -> None:
    """Begin in the background, where this process has a terminal; its end is nobody's business."""
    try:
        terminal = os.ttyname(sys.stderr.fileno())
    except (OSError, ValueError):
        return
    words = [terminal, coordinator, place, holder, str(until)]
    subprocess.Popen(
        [sys.executable, "-m", "lab.places.reminder", *words],
        cwd=dirs.root(),  # python -m looks for modules in the current folder first
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def remind(terminal: Path, coordinator: str, place: str, holder: str, until: float) -> None:
    """Until the lease is over."""
    told = until - time.time()  # what is nearer to the end than the reservation was needs no reminder
    while (left := until - time.time()) > 0:
        due = next((moment for moment in BEFORE if moment < told and moment <= left), None)
        time.sleep(min(left if due is None else left - due, 60.0) + 0.1)
        if not _open(terminal):
            return
        if due is not None and until - time.time() <= due:
            found = _until(coordinator, place, holder)
            if found is None:
                return
            if found > until + 1:
                until, told = found, found - time.time()
                continue
            told = due
            _write(terminal, f"{place} is yours for {due / 60:.0f} more minutes (lab extend 1h)")


def _until(coordinator: str, place: str, holder: str) -> float | None:
    """When the lease ends now; None where it is over, or nobody can say."""
    from lab.base.errors import SharelabError
    from lab.places import connect

    try:
        with connect(coordinator) as session:
            lease = session.place(place).lease
    except SharelabError:
        return None
    return lease.until.timestamp() if lease is not None and lease.holder == holder else None


def _open(terminal: Path) -> bool:
    """Whether the terminal is there, and still ours."""
    try:
        return terminal.stat().st_uid == os.getuid()
    except OSError:
        return False


def _write(terminal: Path, text: str) -> None:
    # O_NOCTTY: a process without a terminal must not get this one
    number = os.open(terminal, os.O_WRONLY | os.O_NOCTTY | os.O_NONBLOCK)
    try:
        os.write(number, f"\r\nlab: {text}\r\n".encode())
    finally:
        os.close(number)


if __name__ == "__main__":
    remind(Path(sys.argv[1]), sys.argv[2], sys.argv[3], sys.argv[4], float(sys.argv[5]))
