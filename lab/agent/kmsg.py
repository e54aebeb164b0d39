"""The kernel's log from a mark on (/dev/kmsg; Documentation/ABI/testing/dev-kmsg)."""

from __future__ import annotations

import os

LOST = "(kernel messages were overwritten before they were read)"


def parse(record: bytes) -> str:
    """Return the message of a record ``level,sequence,microseconds,flags;message`` without its key lines."""
    return record.decode(errors="replace").partition(";")[2].split("\n", 1)[0]


class KernelLog:
    """Reads what the kernel logged since this object was made."""

    def __init__(self, from_start: bool = False) -> None:
        self._fd = os.open("/dev/kmsg", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        os.lseek(self._fd, 0, os.SEEK_SET if from_start else os.SEEK_END)

    def lines(self) -> list[str]:
        """Return the messages since the last call (or the mark). Lines that were overwritten are lost."""
        found = []
        while True:
            try:
                found.append(parse(os.read(self._fd, 8192)))
            except BlockingIOError:
                return found
            except BrokenPipeError:
                found.append(LOST)

    def close(self) -> None:
        """Close /dev/kmsg."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def probe_error(log: list[str], device: str) -> tuple[int, str] | None:
    """Find why a driver's last probe of ``device`` failed: (errno, line); ``None`` if the log does not say.

    drivers/base/dd.c, call_driver_probe. Missing hardware (ENODEV, ENXIO) is not logged.
    """
    for line in reversed(log):
        if f"{device}: probe with driver " in line and " failed with error -" in line:
            return int(line.rpartition("-")[2]), line
    return None


def kmsg(last: int = 200) -> list[str]:
    """Return the last lines of the kernel's log."""
    log = KernelLog(from_start=True)
    try:
        return log.lines()[-last:]
    finally:
        log.close()
