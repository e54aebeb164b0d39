"""What a virtual board does before its memory is saved, and when it goes on: QEMU does not save all of it.

The decoder (QEMU's ``edu``, hw/misc/edu.c) has no saved state: a machine that goes on has a fresh one, with
no address and no interrupt. So it is taken off the bus before, and found again afterwards.

A kernel at EL2 has its clock events from the timer CNTHP (Linux, drivers/clocksource/arm_arch_timer.c,
arch_timer_select_ppi), whose deadline QEMU does not save either (target/arm/machine.c saves GTIMER_PHYS and
GTIMER_VIRT): a CPU whose next event was programmed before never gets it, nor any later one. Linux
programs it again when the clock is set past a timer that waits on that CPU for a time of day
(kernel/time/hrtimer.c, clock_was_set). So such a timer is left on each CPU.
"""

from __future__ import annotations

import ctypes
import os
import sys
import time

from . import files
from .info import hello

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

PCI = "/sys/bus/pci"
CLOCK_REALTIME = 0  # include/uapi/linux/time.h; Python's own timerfd calls are younger than the host's Python
TFD_TIMER_ABSTIME = 1  # include/uapi/linux/timerfd.h
WAIT = 1 << 26
"""Seconds until the timers would expire by themselves: two years."""

_timers: list[int] = []


def before_snapshot(devices: list[str]) -> dict[str, Any]:
    """Take PCI ``devices`` off the bus and return what `hello` says, and ``cpus``, each left with a timer.

    The agent that goes on will be another one: a VMM is left to it. ``OSError`` EBUSY for a device that
    still has a driver: removed under open buffers it crashes the kernel.
    """
    if vmm := sys.modules.get(f"{__package__}.vmm"):
        vmm.release()
    for device in devices:
        if files.link_name(f"{PCI}/devices/{device}/driver") is not None:
            raise OSError(16, f"{device} is still bound to its driver")
    for device in devices:
        if os.path.exists(f"{PCI}/devices/{device}"):
            files.write(f"{PCI}/devices/{device}/remove", "1")
    return {**hello(), "cpus": _leave_timers()}


def after_snapshot(devices: list[str], now: float | None = None) -> dict[str, Any]:
    """Find ``devices`` again and return what `hello` says; set the clock to ``now``, seconds since the epoch.

    ``OSError`` ENODEV for a device that is not there.
    """
    while _timers:
        os.close(_timers.pop())
    if now is not None:
        time.clock_settime(time.CLOCK_REALTIME, now)
    files.write(f"{PCI}/rescan", "1")
    for device in devices:
        if not os.path.exists(f"{PCI}/devices/{device}"):
            raise OSError(19, f"{device} was not found again")
    return hello()


def _leave_timers() -> list[int]:
    """A timer on each CPU, on which it stays as it was set there."""
    libc = ctypes.CDLL(None, use_errno=True)
    cpus = os.sched_getaffinity(0)
    try:
        for cpu in cpus:
            os.sched_setaffinity(0, {cpu})
            timer = libc.timerfd_create(CLOCK_REALTIME, os.O_CLOEXEC)
            if timer < 0:
                raise OSError(ctypes.get_errno(), "timerfd_create")
            _timers.append(timer)
            when = (ctypes.c_long * 4)(0, 0, int(time.time()) + WAIT, 0)  # struct itimerspec
            if libc.timerfd_settime(timer, TFD_TIMER_ABSTIME, when, None) < 0:
                raise OSError(ctypes.get_errno(), "timerfd_settime")
    finally:
        os.sched_setaffinity(0, cpus)
    return sorted(cpus)
