"""The process behind ``lab up``: what it keeps, it can also end."""

from __future__ import annotations

from lab.places.supervisor import Kept


def test_a_process_that_is_ended_while_it_is_started_ends(tmp_path):
    for _ in range(20):
        kept = Kept("sleep", ["sleep", "600"], tmp_path, tmp_path / "log")
        kept.start()
        kept.end()
        assert not kept.running
