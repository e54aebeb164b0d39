"""A job is cancelled while it gives its board back: the end of its session waits for that."""

from __future__ import annotations

import threading
from pathlib import Path

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
