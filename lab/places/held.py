"""A lease as its holder uses it, from any thread."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from datetime import datetime
from types import TracebackType
from typing import TYPE_CHECKING

from lab.base.errors import ConfigError, LabError
from lab.places import loop, notes
from lab.places.lease import HeldPlace
from lab.places.model import LeaseInfo
from lab.places.wire import Wire

if TYPE_CHECKING:
    from lab.places.session import Session


class Lease:
    """A place that is ours until ``until``, or until ``lost`` is set: then stop touching the board.

    As a context manager it is given back at the end of the block.
    """

    def __init__(
        self,
        session: Session,
        wire: Wire,
        place: str,
        info: LeaseInfo,
        on_lost: Callable[[str], None] | None = None,
        *,
        adopted: bool = False,
    ) -> None:
        """Only on the session's loop: ``Session.reserve`` and ``Session.lease`` make these."""
        self.lost = threading.Event()
        self._session = session
        self._on_lost = on_lost
        self._adopted = adopted
        self._held = HeldPlace(wire, place, info, self._lose)
        self._held.start()

    @property
    def place(self) -> str:
        """The place's real name."""
        return self._held.place

    @property
    def holder(self) -> str:
        """The identity it is held with: ``host/user``."""
        return self._held.info.holder

    @property
    def info(self) -> LeaseInfo:
        """All that is known of it."""
        return self._held.info

    @property
    def until(self) -> datetime:
        """Its end in UTC; a held one is moved on by its heartbeats."""
        return self._held.info.until

    @property
    def lost_reason(self) -> str:
        """Why it is lost; empty while it is not."""
        return self._held.lost if self.lost.is_set() else ""

    def check(self) -> None:
        """Ask the coordinator's view whether the place is still ours; before every test.

        While the coordinator is out of reach this waits for it, until the lease's end at the longest.
        Raises LeaseLostError.
        """
        loop.run(self._held.check())

    def extend(self, seconds: float) -> None:
        """Move a timed lease's end. Raises LeaseLostError, or LabError where the coordinator is away."""
        loop.run(self._held.extend(seconds))

    def release(self) -> None:
        """Give the place back; no harm where it is lost or given back already.

        Raises LabError where the coordinator is away: then the janitor frees it.
        """
        notes.forget(self._session.address, self.place, self.holder)
        try:
            loop.run(self._held.release())
        finally:
            self._session.forget(self)  # only now: a session that is closed meanwhile waits for it

    def close(self) -> None:
        """The session ends: give back what this process keeps alive, leave timed leases running."""
        if self.info.timed or self._adopted:
            self._session.forget(self)
            loop.run(self._held.stop())
        else:
            self.release()

    def note(self) -> notes.Note:
        """Remember it for other commands of this user on this machine.

        Raises ConfigError where that is not possible, and then it is given back: nobody could do so later.
        """
        note = notes.Note(self._session.address, self.place, self.holder)
        try:
            notes.write(note)
        except ConfigError:
            with contextlib.suppress(LabError):
                self.release()
            raise
        return note

    def labgrid_environment(self) -> dict[str, str]:
        """For a process that works on the place by labgrid."""
        host, _, user = self.holder.partition("/")
        names = {"LG_COORDINATOR": self._session.address, "LG_PLACE": self.place}
        return {**names, "LG_HOSTNAME": host, "LG_USERNAME": user}

    def __enter__(self) -> Lease:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with contextlib.suppress(LabError):  # the janitor frees what we cannot
            self.release()

    def _lose(self, reason: str) -> None:
        self.lost.set()
        if self._on_lost is not None:
            threading.Thread(target=self._on_lost, args=(reason,), name="lease-lost", daemon=True).start()
