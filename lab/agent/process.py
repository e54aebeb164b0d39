"""Other processes of this board: whether one is the same still, its end, and taking descriptors from it."""

from __future__ import annotations

import ctypes
import os
import select

from . import files

SYS_PIDFD_GETFD = 438  # include/uapi/asm-generic/unistd.h


def start_time(pid: int) -> int:
    """Field 22 of /proc/PID/stat (proc_pid_stat(5)), in clock ticks; 0 for a process that has ended."""
    text = files.read_or_none(f"/proc/{pid}/stat")
    if text is None:
        return 0
    state, *fields = text[text.rfind(")") + 1 :].split()
    return 0 if state in "ZX" else int(fields[18])


def ended(pidfd: int, timeout: float) -> bool:
    """Wait up to ``timeout`` seconds for its end; whether it came."""
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    return bool(poll.poll(timeout * 1000))


def take(pid: int, number: int) -> int:
    """Return a descriptor of one's own for what process ``pid`` has open as ``number`` (pidfd_getfd(2))."""
    libc = ctypes.CDLL(None, use_errno=True)
    pidfd = os.pidfd_open(pid)
    try:
        taken: int = libc.syscall(SYS_PIDFD_GETFD, pidfd, number, 0)
    finally:
        os.close(pidfd)
    if taken < 0:
        raise OSError(ctypes.get_errno(), f"pidfd_getfd of descriptor {number} of process {pid}")
    return taken
