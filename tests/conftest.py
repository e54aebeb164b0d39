"""Which tests go to one worker together, and which of them begin first.

``lab test`` has two workers: much of the time goes by in waiting for boards. A file's tests stay in one
worker, since they share what they boot; those of ``tests/boards`` share one board between their files.
"""

from __future__ import annotations

import os
import sys
from pathlib import PurePosixPath
from typing import Any

import pytest

# Hundreds of processes start here, each of which would compile all that it imports anew.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

TOGETHER = ("boards", "rack")
"""Folders whose files share what they started."""
FIRST = (
    "boards",
    "runs/test_vm_table",
    "places/test_two_users",
    "runs/test_network_cut",
    "runs/test_leased",
    "runs/test_truth_table",
    "runs/test_killed_vmm",
    "runs/test_lost_board",
)
"""The longest, so that none of them is begun when all the others have ended."""


def group_of(nodeid: str) -> str:
    """``boards``, or ``runs/test_leased``: what runs in one worker."""
    inside = PurePosixPath(nodeid.split("::")[0]).relative_to("tests").with_suffix("")
    return inside.parts[0] if inside.parts[0] in TOGETHER else str(inside)


def rank(item: pytest.Item) -> int:
    """Its group's turn; groups that are not named keep theirs, after all that are."""
    group = group_of(item.nodeid)
    return FIRST.index(group) if group in FIRST else len(FIRST)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """In workers, sort the tests by their turns."""
    if hasattr(config, "workerinput"):
        items.sort(key=rank)


# Not xdist's marks for groups: xdist 3.8 loses them with pytest 9.2. Without xdist nobody asks this.
@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Give each group to one worker."""
    from xdist.scheduler import LoadScopeScheduling

    class Groups(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return group_of(nodeid)

    return Groups(config, log)
