"""What of forcing scatter works on any Linux."""

from __future__ import annotations

import os

import pytest

from lab.agent.scatter import OneCpu, Poison


def open_descriptors() -> set[str]:
    return set(os.listdir("/proc/self/fd"))  # noqa: PTH208


def test_one_cpu_and_back() -> None:
    before = os.sched_getaffinity(0)
    with OneCpu():
        assert len(os.sched_getaffinity(0)) == 1
    assert os.sched_getaffinity(0) == before


@pytest.mark.parametrize("pages", [1, 10, 256, 300])
def test_poison_gives_all_its_pipes_back(pages: int) -> None:
    before = open_descriptors()
    poison = Poison(pages)
    assert open_descriptors() > before
    poison.close()
    assert open_descriptors() == before
    poison.close()
