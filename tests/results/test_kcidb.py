"""KCIDB: valid for kcidb-io, every reference leads somewhere, and ours come back as they were."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lab.base.errors import ConfigError
from lab.base.words import Status
from lab.results import Outcome, Result
from lab.results.kcidb import contents, kept, merged, problems, report
from tests.results.sample import bad_run, good_run, plan, result, run
from tests.results.strategies import results

KNOWN = {
    "kind": "fail",
    "state": "corrupt",
    "reason": "bounced",
    "link": "https://example.org/1",
    "where": "x:1",
}


def test_a_run_as_a_report() -> None:
    outcome = Outcome.of(bad_run(), run(plan(good_run())))
    found = report(outcome, "my_lab")
    tests = [test for test in found["tests"] if "number" not in test]
    figures = [test for test in found["tests"] if "number" in test]
    assert [test["status"] for test in tests] == [str(cell.status) for cell in outcome.cells]
    assert len(figures) == sum(len(cell.metrics) for cell in outcome.cells)
    assert figures[0]["path"].endswith(".decode_seconds")
    assert figures[0]["number"] == {"value": 2.013, "prefix": "metric", "unit": "s"}
    assert figures[0]["status"] == "DONE"
    assert (len(found["checkouts"]), len(found["builds"])) == (2, 2)  # a cell that is missing has no kernel
    shared = next(test for test in tests if "udmabuf-4k" in test["path"])
    name = "test_decoder_writes_into_imported_buffer_udmabuf-4k"
    assert shared["path"] == f"sharelab.suites.board.test_import.{name}"
    assert shared["environment"]["misc"]["iommu"] == {"asked": "translated", "verified": "translated"}


def test_what_is_known_is_an_issue_that_is_there_or_not() -> None:
    failing = result(status=Status.FAIL, verdict="corrupt", expectation=KNOWN)
    passing = result("virt-cma", expectation=KNOWN)
    found = report(Outcome.of([failing, passing]))
    assert [issue["report_url"] for issue in found["issues"]] == ["https://example.org/1"]
    assert [incident["present"] for incident in found["incidents"]] == [True, False]


@settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(results(run="r"), max_size=3))
def test_any_run_comes_back_as_far_as_the_format_holds_it(items: list[Result]) -> None:
    outcome = Outcome.of(items)
    document = json.loads(json.dumps(report(outcome)))
    assert problems(document) == []
    if items:
        assert list(contents(document).results) == [kept(cell) for cell in outcome.cells]


def test_references_that_lead_nowhere_are_found() -> None:
    good = report(Outcome.of([result(expectation=KNOWN)]))
    assert problems(good) == []
    for name, key, said in (
        ("builds", "checkout_id", "refers to checkout_id"),
        ("tests", "build_id", "refers to build_id"),
        ("incidents", "issue_id", "refers to issue_id"),
        ("incidents", "test_id", "refers to test_id"),
    ):
        bad = json.loads(json.dumps(good))
        bad[name][0][key] = "sharelab:nowhere"
        assert any(said in problem for problem in problems(bad)), (name, key)
    bad = json.loads(json.dumps(good))
    bad["tests"][0]["origin"] = "other"
    assert any("does not begin with its origin" in problem for problem in problems(bad))
    bad = json.loads(json.dumps(good))
    bad["tests"].append(bad["tests"][0])
    assert problems(bad) == ["tests: an id stands twice"]
    bad["tests"][0]["status"] = "XFAIL"
    assert "XFAIL" in problems(bad)[0]


def test_reports_are_put_together() -> None:
    one, other = (report(Outcome.of([result(target)])) for target in ("virt-smmu", "virt-cma"))
    both = merged([one, other, one])
    assert problems(both) == []
    assert len([test for test in both["tests"] if "number" not in test]) == 2
    assert len(both["builds"]) == 1


def test_what_is_no_report_of_ours_is_refused() -> None:
    with pytest.raises(ConfigError, match="no valid KCIDB report"):
        contents({"version": {"major": 9}})
    with pytest.raises(ConfigError, match="no valid KCIDB report"):
        contents([])
    with pytest.raises(ConfigError, match="no result of sharelab"):
        contents({"version": {"major": 5, "minor": 3}})
    document = report(Outcome.of([replace(result(), metrics={})]))
    document["tests"][0]["misc"]["sharelab"]["attempt"] = -1
    with pytest.raises(ConfigError, match="attempts count from 1"):
        contents(document)
    with pytest.raises(ConfigError, match="not an origin"):
        report(Outcome.of([]), "My-Lab")
