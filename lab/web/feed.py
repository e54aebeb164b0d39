"""What moves on the pages, as server-sent events: pieces of HTML that take the place of older ones.

One look at the lab serves everybody who watches; while nobody does, nobody looks.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Mapping

from starlette.concurrency import run_in_threadpool

PAUSE = 0.7
"""Seconds between two looks."""

Parts = Mapping[str, str]


class Feed:
    """Pieces of a page, made by ``look`` (in a thread of its own), for any number of watchers."""

    def __init__(self, look: Callable[[], Parts], pause: float = PAUSE) -> None:
        self._look = look
        self._pause = pause
        self._parts: dict[str, str] = {}
        self._watchers = 0
        self._task: asyncio.Task[None] | None = None
        self._changed = asyncio.Condition()

    async def watch(self) -> AsyncIterator[tuple[str, str]]:
        """Name and HTML of every piece, and again whenever it has changed."""
        self._watchers += 1
        try:
            if self._task is None or self._task.done():
                self._parts = {}
                self._task = asyncio.create_task(self._go_on())
            seen: dict[str, str] = {}
            while True:
                async with self._changed:
                    while self._parts == seen:
                        await self._changed.wait()
                    new = dict(self._parts)
                for name, text in new.items():
                    if seen.get(name) != text:
                        yield name, text
                seen = new
        finally:
            self._watchers -= 1

    async def close(self) -> None:
        """Stop looking."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def _go_on(self) -> None:
        while self._watchers:
            parts = dict(await run_in_threadpool(self._look))
            if parts != self._parts:
                async with self._changed:
                    self._parts = parts
                    self._changed.notify_all()
            await asyncio.sleep(self._pause)
