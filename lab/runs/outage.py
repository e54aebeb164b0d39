"""Power or a serial line that cannot be reached for a while: waited for, and not held against the board."""

from __future__ import annotations

import time
from collections.abc import Callable
from itertools import chain, repeat
from typing import TypeVar

from lab.boards import UnreachableError

T = TypeVar("T")

PATIENCE = 60.0
"""Seconds without the equipment until it counts as gone; a lease that nobody can prolong ends as late."""

PAUSES = (0.5, 1.0, 2.0, 4.0)
"""Seconds from one try to the next; the last one again and again."""


def outlast(boot: Callable[[], T], check: Callable[[], None], tell: Callable[[str], None]) -> T:
    """What ``boot`` returns; it is tried again as long as it raises UnreachableError, for `PATIENCE` seconds.

    ``tell`` gets the reason, once. ``check`` raises where the board is no longer ours, before each try.
    """
    began = 0.0
    for pause in chain(PAUSES, repeat(PAUSES[-1])):
        try:
            return boot()
        except UnreachableError as error:
            if not began:
                began = time.monotonic()
                tell(error.message)
            if time.monotonic() - began > PATIENCE:
                raise
        time.sleep(pause)
        check()
    raise AssertionError("not reached: the pauses do not end")
