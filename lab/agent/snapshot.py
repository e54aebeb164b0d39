"""What a virtual board does before its memory is saved, and when it goes on: QEMU does not save all of it.

The decoder (QEMU's ``edu``, hw/misc/edu.c) has no saved state: a machine that goes on has a fresh one, with
no address and no interrupt. So it is taken off the bus before, and found again afterwards.

A kernel at EL2 has its clock events from the timer CNTHP (Linux, drivers/clocksource/arm_arch_timer.c,
arch_timer_select_ppi), whose deadline QEMU does not save either (target/arm/machine.c saves GTIMER_PHYS and
GTIMER_VIRT): a CPU whose next event was programmed before never gets it, nor any later one. Linux
programs it again for a timer that is due before that event (kernel/time/hrtimer.c, hrtimer_reprogram). So a
thread is left that starts one on each CPU, long overdue, when it is told to.
"""

from __future__ import annotations

import ctypes
import errno
import os
import sys
import threading
import time

from . import files
from .info import hello

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

PCI = "/sys/bus/pci"
WAKE, AWAKE = "/run/lab/wake", "/run/lab/awake"
"""FIFOs: who goes on with a saved board writes to the first, and reads `GO` from the second, or why not."""

GO = "the timers of all CPUs go on"

# include/uapi/linux/{time,timerfd}.h. Not Python's own timerfd calls: 3.11, which hosts have, lacks them.
CLOCK_MONOTONIC = 1
TFD_TIMER_ABSTIME = 1

_waker: threading.Thread | None = None


def before_snapshot(devices: list[str]) -> dict[str, Any]:
    """Take PCI ``devices`` off the bus, leave who wakes the CPUs' timers, and return what `hello` says.

    The agent that goes on will be another one: a VMM is left to it. ``OSError``, with all as it was: EBUSY
    for a device that still has a driver (removed under open buffers it crashes the kernel), `hostblob.leave`.
    """
    if vmm := sys.modules.get(f"{__package__}.vmm"):
        vmm.release()
    for device in devices:
        if files.link_name(f"{PCI}/devices/{device}/driver") is not None:
            raise OSError(errno.EBUSY, f"{device} is still bound to its driver")
    if hostblob := sys.modules.get(f"{__package__}.hostblob"):
        hostblob.leave()
    for device in devices:
        if os.path.exists(f"{PCI}/devices/{device}"):
            files.write(f"{PCI}/devices/{device}/remove", "1")
    _leave_waker()
    return hello()


def after_snapshot(devices: list[str], now: float | None = None) -> dict[str, Any]:
    """Find ``devices`` again and return what `hello` says; set the clock to ``now``, seconds since the epoch.

    ``OSError`` ENODEV for a device that is not there, ETIME for timers that do not go on.
    """
    global _waker
    if _waker is not None:  # of this very agent: nothing was saved, or the saved session goes on, too
        _waker = None
        with open(WAKE, "w"):
            pass
        with open(AWAKE) as answer:
            said = answer.read()
        if said != GO:
            raise OSError(errno.ETIME, said)
        if hostblob := sys.modules.get(f"{__package__}.hostblob"):
            hostblob.stay()
    if now is not None:
        time.clock_settime(time.CLOCK_REALTIME, now)
    files.write(f"{PCI}/rescan", "1")
    for device in devices:
        if not os.path.exists(f"{PCI}/devices/{device}"):
            raise OSError(errno.ENODEV, f"{device} was not found again")
    return hello()


def _leave_waker() -> None:
    global _waker
    for path in (WAKE, AWAKE):
        if not os.path.exists(path):
            os.mkfifo(path, 0o600)
    _waker = threading.Thread(target=_wake_when_told, name="waker", daemon=True)
    _waker.start()


def _wake_when_told() -> None:
    with open(WAKE) as told:
        told.read()
    said = GO
    try:
        for cpu in os.sched_getaffinity(0):
            os.sched_setaffinity(0, {cpu})  # of this thread
            _expire()
    except OSError as error:  # who asked must not wait for ever
        said = str(error)
    with open(AWAKE, "w") as answer:
        answer.write(said)


def _expire() -> None:
    """Start a timer that was due when the board was switched on, and wait for it. ``OSError`` of timerfd."""
    libc = ctypes.CDLL(None, use_errno=True)
    timer = libc.timerfd_create(CLOCK_MONOTONIC, os.O_CLOEXEC)
    if timer < 0:
        raise OSError(ctypes.get_errno(), "timerfd_create")
    try:
        when = (ctypes.c_long * 4)(0, 0, 0, 1)  # struct itimerspec: in its first nanosecond
        if libc.timerfd_settime(timer, TFD_TIMER_ABSTIME, when, None) < 0:
            raise OSError(ctypes.get_errno(), "timerfd_settime")
        os.read(timer, 8)
    finally:
        os.close(timer)
