"""What a run does while the equipment of its board is out of reach."""

from __future__ import annotations

import pytest

from lab.boards import LostBoardError, UnreachableError
from lab.places import LeaseLostError
from lab.runs import outage
from lab.runs.outage import outlast


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outage, "PAUSES", (0.001,))
    monkeypatch.setattr(outage, "PATIENCE", 0.05)


class Boots:
    """Boots that end as told, one after the other; the last one again and again."""

    def __init__(self, *ends: Exception | None) -> None:
        self._ends = list(ends)
        self.count = 0

    def __call__(self) -> str:
        self.count += 1
        end = self._ends.pop(0) if len(self._ends) > 1 else self._ends[0]
        if end is not None:
            raise end
        return "up"


GONE = UnreachableError("its power cannot be reached")


def nothing() -> None:
    """The lease still holds."""


def test_it_goes_on_when_the_equipment_is_back_and_says_once_why_it_waited():
    said: list[str] = []
    boots = Boots(GONE, GONE, GONE, None)
    assert outlast(boots, nothing, said.append) == "up"
    assert boots.count == 4
    assert said == [GONE.message]


def test_it_does_not_wait_for_ever():
    boots = Boots(GONE)
    with pytest.raises(UnreachableError):
        outlast(boots, nothing, lambda _: None)
    assert boots.count > 2


def test_a_board_that_does_not_boot_is_not_waited_for():
    boots = Boots(LostBoardError("the console was silent"))
    with pytest.raises(LostBoardError):
        outlast(boots, nothing, lambda _: None)
    assert boots.count == 1


def test_nothing_is_tried_on_a_board_that_was_lost_meanwhile():
    def lost() -> None:
        raise LeaseLostError("somebody has it")

    boots = Boots(GONE, None)
    with pytest.raises(LeaseLostError):
        outlast(boots, lost, lambda _: None)
    assert boots.count == 1
