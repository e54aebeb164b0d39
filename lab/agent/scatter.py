"""Making the kernel hand out scattered pages.

On a fresh boot the page allocator gives neighbours one after another, so that an order-0 buffer is contiguous
by luck and an importer that needs contiguity takes it. Every page allocation of order 0 is served from the
CPU's own free list first (mm/page_alloc.c, rmqueue_pcplist), last freed first given. So: stay on one CPU,
take pages alternately for two owners, let one owner free all of its pages, and keep the other's: the free
list now begins with pages that have no free neighbour.

The list is one of several by mobility. GEM objects and dma-heaps allocate unmovable pages, as pipes do; shmem
and memfds allocate movable ones.
"""

from __future__ import annotations

import fcntl
import os

PAGE = 4096
F_SETPIPE_SZ = 1031
PIPE_PAGES = 256  # 1 MiB, what a pipe may grow to without changing pipe-max-size


class OneCpu:
    """Context: this thread stays on the CPU where it is now first allowed to run."""

    def __enter__(self) -> OneCpu:
        self._before = os.sched_getaffinity(0)
        os.sched_setaffinity(0, {min(self._before)})
        return self

    def __exit__(self, *_: object) -> None:
        os.sched_setaffinity(0, self._before)


class Poison:
    """Unmovable pages taken by pipes; every second one is free until `close` frees the others too."""

    def __init__(self, pages: int) -> None:
        """Leave at least ``pages`` free pages without a free neighbour on this CPU's list."""
        count = -(-pages // PIPE_PAGES)
        kept = [_pipe() for _ in range(count)]
        freed = [_pipe() for _ in range(count)]
        page = bytes(PAGE)
        for one, other in zip(kept, freed, strict=True):
            for _ in range(min(pages, PIPE_PAGES)):
                os.write(one[1], page)
                os.write(other[1], page)
        self._open = [fd for pair in kept for fd in pair]
        for pair in freed:
            for fd in pair:
                os.close(fd)

    def close(self) -> None:
        """Free the rest."""
        while self._open:
            os.close(self._open.pop())


def _pipe() -> tuple[int, int]:
    ends = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    fcntl.fcntl(ends[1], F_SETPIPE_SZ, PIPE_PAGES * PAGE)
    return ends
