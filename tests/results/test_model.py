"""A result is the same after it was a JSON line."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.results import Cell, Result, Run
from lab.results.model import SCHEMA, LineError, as_dict, from_dict, parse_line
from tests.results.sample import result
from tests.results.strategies import cells, hostile, results, times


@given(results())
def test_a_result_survives_its_line(item: Result) -> None:
    line = item.to_json()
    assert "\n" not in line
    assert line.isascii()
    assert parse_line(line) == item


@given(hostile, times, st.lists(cells(), max_size=3), st.dictionaries(hostile, hostile, max_size=2))
def test_a_run_survives_its_line(
    name: str, started: datetime, planned: list[Cell], environment: dict[str, str]
) -> None:
    run = Run(id=name, started=started, planned=tuple(planned), environment=environment)
    assert parse_line(run.to_json()) == run


@given(cells())
def test_a_cell_survives_its_dictionary(cell: Cell) -> None:
    assert from_dict(Cell, json.loads(json.dumps(as_dict(cell)))) == cell


def test_what_json_cannot_hold_is_made_plain() -> None:
    item = result(evidence={"data": b"\x00\xff", "pair": (1, 2), "nan": float("nan"), 1: {"x"}}, log="a\0b")
    assert item.evidence == {"data": "AP8=", "pair": [1, 2], "nan": None, "1": ["x"]}
    assert item.log == "a␀b"


def test_times_become_utc_and_need_a_zone() -> None:
    berlin = datetime(2026, 11, 22, 22, 4, tzinfo=timezone(timedelta(hours=1)))
    assert result(started=berlin).started == datetime(2026, 11, 22, 21, 4, tzinfo=UTC)
    assert '"started":"2026-11-22T21:04:00.000000Z"' in result(started=berlin).to_json()
    with pytest.raises(ValueError, match="zone"):
        result(started=datetime(2026, 11, 22))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"status": "GOOD"}, "status"),
        ({"status": None}, "status"),
        ({"attempt": 0}, "count from 1"),
        ({"attempt": 1 << 40}, "count from 1"),
        ({"errno": 1 << 40}, "out of range"),
        ({"duration": -1}, "out of range"),
        ({"duration": float("inf")}, "out of range"),
        ({"started": "0001-01-01T00:00:00+14:00"}, "out of range"),
        ({"schema": SCHEMA + 1}, "newer"),
        ({"schema": None}, "no schema"),
        ({"evidence": []}, "evidence"),
    ],
)
def test_a_line_that_is_no_result_is_refused(change: dict[str, object], message: str) -> None:
    data = json.loads(result().to_json()) | change
    with pytest.raises(LineError, match=message):
        parse_line(json.dumps(data))


@pytest.mark.parametrize("line", ["", "null", "[]", "{", '"x"', "[" * 100_000, "1" * 5000, b"\xff\xfe"])
def test_a_line_that_is_no_record_is_refused(line: str | bytes) -> None:
    with pytest.raises(LineError):
        parse_line(line)


@given(results(), st.data())
def test_no_part_of_a_line_is_taken_for_a_result(item: Result, data: st.DataObject) -> None:
    line = item.to_json()
    with pytest.raises(LineError):
        parse_line(line[: data.draw(st.integers(0, len(line) - 1))])


def test_later_versions_may_add_fields_and_kinds_of_lines() -> None:
    data = json.loads(result().to_json())
    assert parse_line(json.dumps(data | {"colour": "blue"})) == result()
    assert parse_line(json.dumps(data | {"kind": "weather"})) is None
