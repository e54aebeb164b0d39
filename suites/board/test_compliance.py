"""The decoder's driver keeps the V4L2 contract, by v4l2-compliance's judgement."""

from __future__ import annotations

import re

import pytest

TOTAL = re.compile(r"^Total for .*: (\d+), Succeeded: (\d+), Failed: (\d+), Warnings: (\d+)", re.MULTILINE)


@pytest.mark.every_driver
@pytest.mark.beside("v4l2-compliance", "-d", "{node}")
def test_v4l2_compliance(beside):
    """No failure. The tool's own words are the evidence."""
    text = beside["stdout"].decode(errors="replace")
    total = TOTAL.search(text)
    assert total, text[-2000:]
    tests, succeeded, failed, _ = map(int, total.groups())
    assert tests > 40, "the tool ran hardly any test"
    assert (failed, succeeded) == (0, tests), "\n".join(line for line in text.splitlines() if "FAIL" in line)
