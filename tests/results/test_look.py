"""One word, one symbol, one colour for each status and verdict, legible everywhere."""

from __future__ import annotations

import re

from rich.cells import cell_len

from lab.base.words import Status, Verdict
from lab.results.look import STANDINGS, STATUSES, VERDICTS, Standing, errno_name, look_of

LOOKS = [*VERDICTS.values(), *STATUSES.values(), *STANDINGS.values()]


def test_every_word_has_a_look_and_no_two_look_alike() -> None:
    assert set(VERDICTS) == set(Verdict)
    assert set(STATUSES) == set(Status)
    assert set(STANDINGS) == set(Standing)
    for part in ("word", "symbol", "ascii"):
        assert len({getattr(look, part) for look in LOOKS}) == len(LOOKS), part
    assert all(look.word == verdict for verdict, look in VERDICTS.items())


def test_symbols_are_one_column_wide_and_colours_are_colours() -> None:
    for look in LOOKS:
        assert cell_len(look.symbol) == 1
        assert len(look.ascii) == 1
        assert look.ascii.isascii()
        assert re.fullmatch("#[0-9a-f]{6}", look.colour)


def test_a_verdict_shows_only_where_lab_and_test_held() -> None:
    assert look_of(Status.PASS, Verdict.REFUSED) is VERDICTS[Verdict.REFUSED]
    assert look_of(Status.FAIL, Verdict.CORRUPT) is VERDICTS[Verdict.CORRUPT]
    assert look_of(Status.FAIL, None) is STATUSES[Status.FAIL]
    assert look_of(Status.MISS, Verdict.CORRUPT) is STATUSES[Status.MISS]


def test_errno_names() -> None:
    assert [errno_name(number) for number in (14, -22, 4000, None, 0)] == [
        "EFAULT",
        "EINVAL",
        "errno 4000",
        "",
        "",
    ]
