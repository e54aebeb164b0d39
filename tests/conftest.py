"""Tests that boot a board or share a machine's one thing (ports, the image cache) keep to one worker."""

from __future__ import annotations

from pathlib import Path

import pytest

TOGETHER = [Path(__file__).parent / name for name in ("boards", "imaging", "rack")]


@pytest.hookimpl(tryfirst=True)  # before xdist reads the marks
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Two cores carry one booting board at a time (``--dist loadgroup``)."""
    for item in items:
        if item.get_closest_marker("board") or item.path.parent in TOGETHER:
            item.add_marker(pytest.mark.xdist_group("board"))
