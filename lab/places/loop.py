"""The event loop of all sessions of this process, in a thread of its own: gRPC's asyncio wants one loop."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Coroutine
from concurrent.futures import Future
from typing import Any, TypeVar

T = TypeVar("T")

_lock = threading.Lock()
_loop: asyncio.AbstractEventLoop | None = None


def loop() -> asyncio.AbstractEventLoop:
    """The loop; its thread is started by the first call."""
    global _loop
    with _lock:
        if _loop is None:
            _loop = asyncio.new_event_loop()
            threading.Thread(target=_loop.run_forever, name="places", daemon=True).start()
        return _loop


def start(work: Coroutine[Any, Any, T]) -> Future[T]:
    """Begin ``work`` on the loop."""
    return asyncio.run_coroutine_threadsafe(work, loop())


def run(work: Coroutine[Any, Any, T]) -> T:
    """Do ``work`` on the loop and return what it returns; Ctrl-C cancels it and waits for its cleaning up."""
    done = threading.Event()

    async def wrapped() -> T:
        try:
            return await work
        finally:
            done.set()

    future = start(wrapped())
    try:
        return future.result()
    except BaseException:
        if not future.done():
            future.cancel()
            done.wait(15.0)
        raise


async def finish(work: Awaitable[T]) -> T:
    """Do ``work`` to its end even where the caller is cancelled meanwhile; only then is he.

    For what must not stop half-way: the coordinator breaks off a call whose client breaks it off, and
    a place that was being acquired or released then is neither.
    """
    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task])
        raise
