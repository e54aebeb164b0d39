"""Reserving from Python: order, limits, what is avoided, what a restart of the coordinator leaves."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from lab.base.errors import ConfigError, LabError
from lab.places import Health, Lease, Session, Waiting, connect, loop
from lab.places.janitor import Janitor
from lab.places.lease import release
from lab.places.model import MAX_PER_USER
from lab.places.wire import Wire
from tests.lightlab import LightLab, eventually

NAMES = ("one", "two", "three")


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LightLab]:
    with LightLab(tmp_path_factory.mktemp("lab"), "lab.places.coordinator") as lab:
        with connect(lab.address) as session:
            lab.add_places(session, *NAMES, exporter=None)
        for name in ("janitor", "janitor-2"):  # as many as one likes
            lab.start_janitor(name)
        yield lab


@pytest.fixture
def session(lab: LightLab) -> Iterator[Session]:
    with connect(lab.address, user="alice") as session:
        yield session
        for name in NAMES:
            session.kick(name)


class Waiter:
    """Somebody who waits in a thread of his own."""

    def __init__(self, reserve: Callable[[], Lease]) -> None:
        self.lease: Lease | None = None
        self._thread = threading.Thread(target=self._run, args=(reserve,))
        self._thread.start()

    def _run(self, reserve: Callable[[], Lease]) -> None:
        self.lease = reserve()

    def join(self) -> Lease:
        self._thread.join(60)
        assert self.lease is not None
        return self.lease


def test_the_higher_priority_is_served_first(lab: LightLab, session: Session) -> None:
    held = session.reserve({"name": "one"})
    with connect(lab.address, user="low") as low, connect(lab.address, user="high") as high:
        first = Waiter(lambda: low.reserve({"name": "one"}, wait=20))
        eventually(lambda: len(session.waiting()) == 1)
        second = Waiter(lambda: high.reserve({"name": "one"}, wait=20, priority=3))
        eventually(lambda: len(session.waiting()) == 2)
        assert [(one.owner.split("/")[1][:3], one.priority) for one in session.waiting()] == [
            ("hig", 3),
            ("low", 0),
        ]
        held.release()
        second.join().release()
        first.join().release()


def test_what_is_excluded_is_not_given_though_it_is_free(session: Session) -> None:
    taken = {session.reserve({"soc": "rk3588"}, wait=5, exclude=["one"]).place for _ in range(2)}
    assert taken == {"two", "three"}
    with pytest.raises(LabError, match="came free"):
        session.reserve({"soc": "rk3588"}, wait=1, exclude=["one"])
    with pytest.raises(ConfigError, match="besides"):
        session.reserve({"soc": "rk3588"}, wait=1, exclude=NAMES)


def test_one_person_holds_no_more_places_than_the_lab_allows(lab: LightLab, session: Session) -> None:
    for name in NAMES:
        session.set_tags(name, {MAX_PER_USER: "2"})
    leases = [session.reserve({"soc": "rk3588"}, wait=5) for _ in range(2)]
    told: list[Waiting] = []
    with connect(lab.address, user="alice") as same, pytest.raises(LabError):
        same.reserve({"soc": "rk3588"}, wait=1, on_wait=told.append)
    assert "alice holds as many places as one may" in told[0].note
    with connect(lab.address, user="bob") as other:
        other.reserve({"soc": "rk3588"}, wait=5).release()
    leases[0].release()
    session.reserve({"soc": "rk3588"}, wait=5)
    for name in NAMES:
        session.set_tags(name, {MAX_PER_USER: ""})


def test_a_place_that_is_healed_is_given_with_the_same_breath(lab: LightLab, session: Session) -> None:
    session.set_health("one", Health.QUARANTINED, "serial silent")
    with connect(lab.address, user="bob") as other:
        waiter = Waiter(lambda: other.reserve({"name": "one"}, wait=60))
        eventually(lambda: len(session.waiting()) == 1)
        assert session.place("one").reservation is None
        session.set_health("one", Health.HEALTHY)
        found = session.place("one")
        assert found.reservation or found.acquired
        waiter.join().release()


def test_a_kick_is_known_at_once_and_says_why(session: Session) -> None:
    heard: list[str] = []
    lease = session.reserve({"name": "one"}, on_lost=heard.append)
    lease.check()
    session.kick("one", "maintenance")
    assert lease.lost.wait(2)
    assert "maintenance" in lease.lost_reason
    with pytest.raises(LabError, match="no longer ours"):
        lease.check()
    eventually(lambda: heard == [lease.lost_reason], timeout=2)


def test_a_lock_of_plain_labgrid_client_is_left_alone(lab: LightLab, session: Session) -> None:
    from lab.places.wire import pb

    session.call("AcquirePlace", pb.AcquirePlaceRequest(placename="two"))
    lab.lab_says("janitor", "--once")
    assert session.place("two").acquired == session.identity
    assert session.place("two").lease is None
    assert "locked without a lease" in lab.lab_says("boards")


def test_after_a_restart_of_the_coordinator_everyone_has_what_he_had(lab: LightLab, session: Session) -> None:
    """A holder takes his place again, the janitor does so for a timed lease; who waits stays behind them."""
    held = session.reserve({"name": "one"}, ttl=30)
    timed = session.reserve({"name": "two"}, hold=600)
    assert timed.info.timed
    with connect(lab.address, user="bob") as other:
        waiter = Waiter(lambda: other.reserve({"name": "one"}, wait=120))
        lab.kill("coordinator", signal.SIGTERM)  # it saves its places; tests/places/test_chaos.py kills it
        lab.start_coordinator()
        held.check()
        assert session.place("one").acquired == held.holder
        eventually(lambda: session.place("two").acquired == timed.holder)
        assert waiter.lease is None
        held.release()
        waiter.join().release()
    timed.release()
    assert not held.lost.is_set()


def test_a_wait_that_is_broken_off_at_any_moment_leaves_nothing(lab: LightLab, session: Session) -> None:
    """A cancelled CI job: also while its place is being acquired, or its turn in the queue given back."""

    def waits(seeker: Session) -> None:
        with contextlib.suppress(LabError):
            seeker.reserve({"name": "one"}, wait=20)

    for number in range(60):
        with connect(lab.address, user="ci") as seeker:
            thread = threading.Thread(target=waits, args=(seeker,))
            thread.start()
            if number % 2:
                eventually(lambda: session.place("one").acquired)
            time.sleep(number * 0.0001)  # the whole takes some 10 ms
            seeker.stop_waiting()
            thread.join(20)
            assert seeker.identity not in [one.owner for one in session.waiting()]
        eventually(lambda: session.place("one").acquired is None, 5)


def test_janitors_at_once_free_what_is_over_and_leave_the_next_one_his(
    lab: LightLab, session: Session
) -> None:
    """Beside the two of the lab: two that sweep at one moment, and one that comes late with an old view."""

    async def sweep_together() -> list[list[str]]:
        wires = [Wire(lab.address, f"host/janitor{number}") for number in range(2)]
        for wire in wires:
            await wire.open()
        try:
            return await asyncio.gather(*(Janitor(wire, stays=False).sweep() for wire in wires))
        finally:
            for wire in wires:
                await wire.close()

    for _ in range(5):
        over = session.reserve({"name": "one"}, wait=20, hold=0.1)
        with connect(lab.address, user="bob") as bob:
            next_one = Waiter(lambda: bob.reserve({"name": "one"}, wait=20))
            while session.place("one").acquired == over.holder:
                loop.run(sweep_together())
            held = next_one.join()
            loop.run(release(session._wire, "one", over.holder))
            loop.run(sweep_together())
            held.check()
            assert session.place("one").acquired == held.holder
            held.release()
