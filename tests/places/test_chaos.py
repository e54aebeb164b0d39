"""The short form of benchmarks/chaos.py: what dies takes nothing along."""

from __future__ import annotations

from pathlib import Path

from benchmarks.chaos import Chaos

SEED = 3


def test_no_lease_cycle_is_lost_or_doubled_while_parts_of_the_lab_are_killed(tmp_path: Path) -> None:
    report = Chaos(tmp_path, cycles=8, places=3, seed=SEED, ttl=3.0).run(limit=90.0)
    print(report.text())
    assert report.faults == []
    assert all(report.killed.values())
    assert report.deaths
    assert sum(report.statuses.values()) >= 3
