"""A board is given back, whatever is in the way: a session that ends meanwhile, a home that is read-only."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from lab.base.errors import ConfigError
from lab.places import connect
from tests.lightlab import LightLab, eventually

TIMES = 5


def test_a_session_that_is_closed_meanwhile_waits_for_it(tmp_path: Path):
    with LightLab(tmp_path) as lab, connect(lab.address) as watcher:
        lab.start_janitor()
        lab.start_light_exporter("rock")
        lab.add_places(watcher, "rock")
        eventually(lambda: watcher.place("rock").live)
        for number in range(TIMES):
            session = connect(lab.address)
            lease = session.reserve({"name": "rock"}, wait=20)
            failed: list[BaseException] = []

            def give_back(lease=lease, failed=failed) -> None:
                try:
                    lease.release()
                except BaseException as error:
                    failed.append(error)

            worker = threading.Thread(target=give_back)
            worker.start()
            session.close()
            worker.join(10)
            assert not failed, f"time {number}: {failed[0]!r}"
            eventually(lambda: watcher.place("rock").acquired is None, 2)


def test_without_a_place_for_notes_boards_are_given_back_all_the_same(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", "/dev/null")  # as little to be written to as a read-only home
    with LightLab(tmp_path) as lab, connect(lab.address) as session:
        lab.start_light_exporter("rock")
        lab.add_places(session, "rock")
        eventually(lambda: session.place("rock").live)
        session.reserve({"name": "rock"}, wait=20).release()
        eventually(lambda: session.place("rock").acquired is None, 2)
        lease = session.reserve({"name": "rock"}, wait=20, hold=600)
        with pytest.raises(ConfigError, match=r"/dev/null/sharelab: cannot be made .*XDG_STATE_HOME"):
            lease.note()
        eventually(lambda: session.place("rock").acquired is None, 2)
