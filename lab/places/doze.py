"""Waiting in a crowded lab.

The coordinator tells every client of every change of every place, so that what a change costs it grows
with the number of clients: with some hundreds that wait it does little else. Where there are many, one
who waits closes his stream and asks for his reservation now and then, which costs the same however many
others there are.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Collection

from lab.base.errors import LabError
from lab.places import view
from lab.places.wire import Wire, pb

CROWD = 40
"""Clients (who hold or wait) from which on one waits so. Below, being told at once is worth the stream."""
NOTICE = 5.0
"""Seconds after which one who holds a place so knows for certain that he lost it: two questions of his."""
PAUSE = 0.7
QUESTIONS_PER_SECOND = 250.0
"""That all who wait together may put to the coordinator: a tenth or so of what it can answer."""


def crowded(wire: Wire, waiting: int = 0) -> bool:
    """Whether so many hold places, or are ``waiting``, that one does better without a stream."""
    return waiting + sum(bool(one.acquired) for one in wire.places.values()) > CROWD


def pause(waiting: int) -> float:
    """Seconds from one question to the next, among ``waiting``."""
    return max(PAUSE, waiting / QUESTIONS_PER_SECOND)


async def doze(wire: Wire, tokens: Collection[str], waiting: int, seconds: float) -> bool:
    """Without the stream until one of the reservations is not waiting any more, for ``seconds`` at most.

    Returns whether all of them were there to the end: if not, the coordinator was restarted. The stream is
    back when this returns, and ``wire`` has everything as it is then.
    """
    end = time.monotonic() + seconds
    step = pause(waiting)
    await wire.quiet()
    try:
        while time.monotonic() < end and wire.watchers == 1:
            await asyncio.sleep(min(step * random.uniform(0.7, 1.3), max(end - time.monotonic(), 0.0)))
            for token in tokens:
                answer = await wire.call("PollReservation", pb.PollReservationRequest(token=token))
                if answer.reservation.state != view.WAITING:
                    return True
        return True
    except LabError:
        return False
    finally:
        await wire.wake()
