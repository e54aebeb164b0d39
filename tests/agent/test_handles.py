"""Handles: what is closed stays closed, whatever goes wrong."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.agent.handles import Handles


class Thing:
    def __init__(self, log: list[int], name: int, fails: bool = False) -> None:
        self.log, self.name, self.fails = log, name, fails

    def close(self) -> None:
        self.log.append(self.name)
        if self.fails:
            raise OSError(5, "cannot")


@given(st.lists(st.booleans(), max_size=8))
def test_reset_closes_all_newest_first_even_past_errors(fails: list[bool]) -> None:
    closed: list[int] = []
    handles = Handles()
    numbers = [handles.add(Thing(closed, number, fail)) for number, fail in enumerate(fails)]
    errors = handles.reset()
    assert closed == list(reversed(range(len(fails))))
    assert len(errors) == sum(fails)
    for number in numbers:
        with pytest.raises(LookupError, match=str(number)):
            handles.get(number)
    assert handles.reset() == []


def test_a_number_is_never_used_again() -> None:
    handles = Handles()
    first = handles.add(Thing([], 1))
    handles.close(first)
    assert handles.add(Thing([], 2)) != first


def test_a_handle_is_gone_even_if_its_close_fails() -> None:
    handles = Handles()
    number = handles.add(Thing([], 1, fails=True))
    with pytest.raises(OSError, match="cannot"):
        handles.close(number)
    with pytest.raises(LookupError):
        handles.close(number)
