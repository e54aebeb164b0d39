"""Which status an exception means, phase by phase."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from lab.base.errors import BoardError, ConfigError, LabError
from lab.base.words import Status
from lab.boards.errors import LostBoardError
from lab.runs.record import Attempt, note_phase, status_of_exception


def caused(by: Exception) -> Exception:
    error = RuntimeError("labgrid wrapped it")
    error.__cause__ = by
    return error


@pytest.mark.parametrize("phase", ["setup", "call", "teardown"])
@pytest.mark.parametrize("error", [LabError("x"), LostBoardError("x"), caused(LabError("x"))])
def test_a_fault_of_the_lab_is_missing_wherever_it_shows(error, phase):
    assert status_of_exception(error, phase) is Status.MISS


@pytest.mark.parametrize(
    ("error", "phase", "status"),
    [
        (AssertionError("refused, expected zero-copy"), "call", Status.FAIL),
        (BoardError("EIO"), "call", Status.FAIL),
        (AssertionError("a broken fixture"), "setup", Status.ERROR),
        (KeyError("typo"), "call", Status.ERROR),
        (ConfigError("x"), "setup", Status.ERROR),
        (caused(ValueError("x")), "call", Status.ERROR),
    ],
)
def test_the_board_fails_a_test_and_a_broken_test_is_an_error(error, phase, status):
    assert status_of_exception(error, phase) is status


def call_info(error: BaseException | None, when: str) -> pytest.CallInfo[None]:
    def body() -> None:
        if error is not None:
            raise error

    return pytest.CallInfo.from_call(body, when)


def test_a_clock_that_is_set_back_under_an_attempt_leaves_its_duration():
    attempt = Attempt(started=datetime.now(UTC) + timedelta(hours=1))
    assert 0 <= attempt.duration < 3600


def test_the_gravest_phase_stays():
    attempt = Attempt()
    note_phase(attempt, call_info(AssertionError("wrong pixels"), "call"))
    note_phase(attempt, call_info(LostBoardError("QEMU is gone", detail="console"), "teardown"))
    note_phase(attempt, call_info(KeyError("late"), "teardown"))
    assert attempt.status is Status.MISS
    assert attempt.reason == "QEMU is gone"
    assert attempt.detail == "console"


def test_without_an_exception_it_passes_and_the_verdicts_reason_is_the_reason():
    attempt = Attempt(reasons=("all bytes are right", "nothing bounced"))
    note_phase(attempt, call_info(None, "call"))
    assert attempt.status is Status.PASS
    assert attempt.reason == "all bytes are right"


def test_a_broken_test_names_its_place():
    attempt = Attempt()
    note_phase(attempt, call_info(KeyError("typo"), "call"))
    assert "KeyError" in attempt.reason
    assert "test_record.py:" in attempt.reason
