"""Whether a process of ours runs: by a lock on a file, not by a number that another process may have by now.

An open file description lock (fcntl(2)): unlike flock(2) it can be asked for without being taken, so that a
process which starts while somebody asks does not take him for another one of its kind.
"""

from __future__ import annotations

import fcntl
import os
import struct
from pathlib import Path

from lab.base.errors import LabError

_FLOCK = "hhqqi4x"
"""struct flock of 64-bit Linux: l_type, l_whence, l_start, l_len, l_pid (0 for this kind of lock)."""


def take(path: Path) -> int:
    """The lock of the file ``path``, which is made if missing.

    It is held until the descriptor that is returned is closed: best never, then it ends with the process and
    no sooner. Raises LabError where another process has it.
    """
    lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.fcntl(lock, fcntl.F_OFD_SETLK, _whole(fcntl.F_WRLCK))
    except BlockingIOError:
        os.close(lock)
        raise LabError(f"another process has the lock {path}") from None
    return lock


def held(path: Path) -> bool:
    """Whether a process has the lock."""
    try:
        with path.open("r") as file:
            found = fcntl.fcntl(file, fcntl.F_OFD_GETLK, _whole(fcntl.F_RDLCK))
    except FileNotFoundError:
        return False
    return bool(struct.unpack(_FLOCK, found)[0] != fcntl.F_UNLCK)


def _whole(kind: int) -> bytes:
    """A lock on the whole file."""
    return struct.pack(_FLOCK, kind, os.SEEK_SET, 0, 0, 0)
