from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from lab.base import duration
from lab.base.errors import ConfigError


@pytest.mark.parametrize(("text", "seconds"), [("90s", 90), ("1h30m", 5400), ("2d", 172800), ("0s", 0)])
def test_a_span_is_read_as_it_is_written(text, seconds):
    assert duration.seconds(text) == seconds
    assert duration.written(seconds) == text.replace("90s", "1m30s")


@pytest.mark.parametrize("text", ["", "5", "h", "1.5h", "-1h", "100000d", "9" * 5000 + "s"])
def test_what_is_none_is_refused(text):
    with pytest.raises(ConfigError):
        duration.seconds(text)


def test_the_longest_span_ends_on_a_day_that_has_a_date():
    assert datetime.now(UTC) + timedelta(seconds=duration.seconds("99999d99999h99999m99999s"))
