"""The jobs of a run at work, side by side: a thread each, which waits for its board's process.

labgrid allows one board a process; the threads only listen. Any of them may end by itself; all of
them are ended by `Crew.end`, which the main thread calls when the run is interrupted.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from lab.base.errors import LabError
from lab.runs.jobs import Job
from lab.runs.launch import GRACE, BoardProcess

POLL = 0.2
"""Seconds between two moments in which the main thread can be interrupted while it waits."""


GIVE_BACK = 10.0
"""Seconds that it may take at most to give places back when their boards are off; a moment, as a rule."""


class EndedError(LabError):
    """The run was interrupted while this job waited or worked."""


class Crew:
    """Works on jobs, ``boards`` at a time; 0: all of them."""

    def __init__(self, work: Callable[[Job], None], boards: int) -> None:
        """``work`` does one job, in a thread of its own; it must not raise."""
        self.ended = threading.Event()
        """The run is over: nothing new may begin."""
        self._work = work
        self._boards = boards
        self._processes: set[BoardProcess] = set()
        self._lock = threading.Lock()
        self._threads: list[threading.Thread] = []

    def run(self, jobs: Sequence[Job], check: Callable[[], None]) -> None:
        """Do all ``jobs``, in their order where not all fit at once; return when all have ended.

        ``check`` is called every `POLL` seconds; what it raises comes out of here.
        """
        seats = threading.Semaphore(self._boards or len(jobs))

        def seated(job: Job) -> None:
            try:
                if not self.ended.is_set():
                    self._work(job)
            finally:
                seats.release()

        waiting = list(jobs)
        while waiting or self._threads:
            check()
            if waiting and seats.acquire(timeout=POLL):
                job = waiting.pop(0)
                thread = threading.Thread(target=seated, args=(job,), name=job.target, daemon=True)
                self._threads.append(thread)
                thread.start()
            elif not waiting:
                self._threads = [thread for thread in self._threads if thread.is_alive()]
                for thread in self._threads[:1]:
                    thread.join(POLL)

    @contextmanager
    def process(self, process: BoardProcess) -> Iterator[BoardProcess]:
        """A process that `end` ends, while the block runs. Raises EndedError where the run is over."""
        with self._lock:
            self._processes.add(process)
        try:
            with process:
                self.check()
                yield process
        finally:
            with self._lock:
                self._processes.discard(process)

    def check(self, *_: object) -> None:
        """Raise EndedError where the run is over."""
        if self.ended.is_set():
            raise EndedError("the run was ended")

    def end(self, grace: float = GRACE) -> None:
        """Have every board switched off and every place given back, within ``grace`` seconds and a little."""
        self.ended.set()
        with self._lock:
            running = list(self._processes)
        enders = [threading.Thread(target=one.end, args=(grace,), daemon=True) for one in running]
        for thread in enders:
            thread.start()
        limit = time.monotonic() + grace + GIVE_BACK
        for thread in (*enders, *self._threads):
            thread.join(max(limit - time.monotonic(), 0.0))
