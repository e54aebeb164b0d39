"""Tests that boot a board share one worker: two cores carry one booting board at a time."""

from __future__ import annotations

import pytest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give each boarding test to the same xdist worker (``--dist loadgroup``)."""
    for item in items:
        if item.get_closest_marker("board"):
            item.add_marker(pytest.mark.xdist_group("board"))
