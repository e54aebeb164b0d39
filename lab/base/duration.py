"""Spans of time as people write them: ``90s``, ``30m``, ``1h30m``, ``2d``."""

from __future__ import annotations

import re

from lab.base.errors import ConfigError

UNITS = {"d": 86400, "h": 3600, "m": 60, "s": 1}
DIGITS = 5
"""Of one number: 99999d are 273 years, and a date that far away can be written."""
WRITTEN = re.compile(r"(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?")


def seconds(text: str) -> float:
    """``1h30m`` as 5400.0. Raises ConfigError; a bare number says no unit, and is none."""
    found = WRITTEN.fullmatch(text.strip())
    if not text.strip() or found is None:
        raise ConfigError(f"'{text}' is not a span of time", hint="write 90s, 30m, 2h or 1h30m")
    if max(map(len, filter(None, found.groups())), default=0) > DIGITS:
        raise ConfigError(f"'{text}' is longer than anything lasts", hint="write 90s, 30m, 2h or 1h30m")
    numbers = [int(number or 0) for number in found.groups()]
    return float(sum(number * unit for number, unit in zip(numbers, UNITS.values(), strict=True)))


def written(span: float) -> str:
    """5400.0 as ``1h30m``; to the second, and never empty."""
    rest, words = int(span), ""
    for letter, unit in UNITS.items():
        number, rest = divmod(rest, unit)
        words += f"{number}{letter}" if number else ""
    return words or "0s"
