"""What a lease's tag says, and who is next: pure."""

from __future__ import annotations

import os
import time
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from lab.places.model import LeaseInfo, aged, person
from lab.places.model import given as asked_for
from lab.places.session import login_name
from lab.places.view import moment
from lab.places.wire import Wire

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
MOMENTS = st.integers(0, 4_000_000_000_000).map(lambda milliseconds: moment(milliseconds / 1000))
WORDS = st.text("abcö=,;%-", min_size=1)
LEASES = st.builds(
    LeaseInfo,
    holder=st.from_regex(r"[A-Za-z0-9_.-]+/[A-Za-z0-9_.@+-]+\.[0-9a-f]{4}", fullmatch=True),
    since=MOMENTS,
    until=MOMENTS,
    beat=MOMENTS,
    ttl=st.sampled_from([0.0, 6.0, 60.0, 0.5]),
    reason=st.lists(WORDS).map(" ".join),
    over=st.booleans(),
    notice=st.sampled_from([0.0, 20.0]),
)


@given(LEASES)
def test_a_lease_is_read_from_its_tag_as_it_was_written(lease: LeaseInfo) -> None:
    assert LeaseInfo.parse(lease.text()) == lease


@given(st.text())
def test_what_is_no_lease_is_none(text: str) -> None:
    assert LeaseInfo.parse(text) is None


def test_a_tag_of_somebody_else_s_making_is_no_lease() -> None:
    text = LeaseInfo("host/ci.1f2e", NOW, NOW, NOW).text()
    assert LeaseInfo.parse(text) is not None
    assert LeaseInfo.parse(text.replace("Z", "")) is None


def test_a_clock_that_is_set_ends_no_lease(monkeypatch) -> None:
    wire = Wire("127.0.0.1:1", "host/janitor.1f2e")
    start = time.time()
    wire.hear_clock(start)
    for jump in (3600.0, -3600.0):
        monkeypatch.setattr(time, "time", lambda: start + jump)  # noqa: B023 - asked for at once
        assert abs(wire.now() - start) < 60


@given(MOMENTS, MOMENTS, st.integers(-20, 20), st.integers(-20, 20))
def test_waiting_weighs_as_much_for_everyone_at_any_time(
    one: datetime, other: datetime, a: int, b: int
) -> None:
    """Who is first stays first, and ten minutes of waiting are worth a priority of 1."""
    ahead = (a - b) * timedelta(minutes=10) > one - other
    if abs((a - b) * timedelta(minutes=10) - (one - other)) > timedelta(seconds=1):
        assert (aged(a, one) > aged(b, other)) == ahead


@given(MOMENTS, st.integers(-20, 20))
def test_the_priority_that_was_asked_for_is_shown(since: datetime, priority: int) -> None:
    assert asked_for(aged(priority, since), since) == priority


def test_who_ends_a_lease_that_nobody_watches_gives_its_holder_notice() -> None:
    lease = LeaseInfo("host/ci.1f2e", NOW, NOW + timedelta(seconds=60), NOW, ttl=60, notice=20)
    kicked, released = lease.ended(NOW), lease.ended(NOW, by_holder=True)
    assert not kicked.valid(NOW)
    assert kicked.busy(NOW + timedelta(seconds=19))
    assert not kicked.busy(NOW + timedelta(seconds=20))
    assert not released.busy(NOW)


def test_the_person_behind_a_job() -> None:
    assert person("runner3/ci-4711.3f2a") == "ci-4711"
    assert person("host/john.doe") == "john.doe"


def test_a_user_without_a_name_has_a_number(monkeypatch) -> None:
    for variable in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr(os, "getuid", lambda: 1000700000)  # as a container's platform gives it
    assert login_name() == "uid-1000700000"
