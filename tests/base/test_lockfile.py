"""Whether a process runs is told by the lock that it holds; to ask is no obstacle to it."""

from __future__ import annotations

import os
import threading

import pytest

from lab.base import lockfile
from lab.base.errors import LabError


def test_who_holds_it_is_seen_until_he_is_gone(tmp_path):
    path = tmp_path / "lock"
    assert not lockfile.held(path)
    lock = lockfile.take(path)
    assert lockfile.held(path)
    with pytest.raises(LabError, match="another process has the lock"):
        lockfile.take(path)
    os.close(lock)
    assert not lockfile.held(path)


def test_questions_keep_nobody_from_taking_it(tmp_path):
    path = tmp_path / "lock"
    over = threading.Event()

    def ask() -> None:
        while not over.is_set():
            lockfile.held(path)

    asker = threading.Thread(target=ask)
    asker.start()
    try:
        for _ in range(100):
            os.close(lockfile.take(path))
    finally:
        over.set()
        asker.join()
