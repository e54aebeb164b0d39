"""``lab results``."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner

from lab.base.errors import SharelabError
from lab.base.words import Status
from lab.cli.app import app
from lab.results.folder import RunFolder
from lab.results.log import ResultLog
from lab.results.places import Ended, LeaseRecord
from tests.results.sample import good_run, plan, result, run


def lab(*words: str) -> str:
    done = CliRunner().invoke(app, list(words))
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done.output


def test_lab_results(folder: RunFolder) -> None:
    folder.publish()
    assert run().id in lab("results", "list")
    (line,) = json.loads(lab("results", "list", "--json"))
    assert line["counts"] == {"PASS": 61, "FAIL": 1, "SKIP": 1, "ERROR": 1, "MISS": 1}
    assert (line["exit_code"], line["modes"]) == (1, ["translated", "passthrough", "off"])
    for name in ("last", "2026", run().id):
        assert "udmabuf, 2M huge pages" in lab("results", "show", name)
    assert f"Report: results/{run().id}/report.html" in lab("results", "show")
    assert json.loads(lab("results", "show", "--json")) == json.loads(folder.json.read_text())


def test_lab_results_without_results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SharelabError, match="no result store"):
        lab("results", "list")


def test_two_runs_and_a_test_over_them(
    folder: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LAB_STORE", str(tmp_path / "all.sqlite"))
    earlier = replace(run(plan(good_run())), id="2026-11-21", started=run().started - timedelta(days=1))
    made, log = RunFolder.create(earlier)
    with log:
        for item in good_run():
            log.write(replace(item, run=earlier.id, started=item.started - timedelta(days=1)))
    assert "65 results" in lab("results", "add", str(made.path), str(folder.path))
    assert "64 results, 0 were" not in lab("results", "add", str(made.path / "results.jsonl"))
    told = lab("results", "diff", "2026-11-21", "last")
    assert "new failure: 2" in told
    assert "missing: 1" in told
    assert told.splitlines()[-1].endswith("61 same.")
    found = json.loads(lab("results", "diff", "2026-11-21", "last", "--json"))
    assert [item["change"] for item in found][:3] == ["new failure", "new failure", "missing"]
    assert "✗✗" in lab("results", "trend", "4K pages")
    rows = json.loads(lab("results", "trend", "udmabuf-4k", "-t", "virt-dma32", "--json"))
    assert [point["run"] for point in rows[0]["points"]] == [earlier.id, run().id]
    assert rows[0]["state"] == "new failure"
    with pytest.raises(SharelabError, match="no test with"):
        lab("results", "trend", "nonsense")


def test_what_runs_held_is_listed_whole_in_a_narrow_terminal(folder: RunFolder) -> None:
    since = run().started
    place, reason = "a-place-with-a-name-of-some-length-1", "kicked for maintenance of the rack"
    lease = LeaseRecord(
        run=run().id, place=place, target="rock5b", holder="ci/job.1f2e", asked=since,
        since=since + timedelta(seconds=90), until=since + timedelta(minutes=30), ended=Ended.LOST,
        reason=reason, cells=12,
    )  # fmt: skip
    with ResultLog(folder.log) as log:
        log.note(lease)
    folder.publish()
    told = lab("results", "leases")
    assert max(map(len, told.splitlines())) <= 80
    assert "…" not in told
    assert "1m30s" in told
    (found,) = json.loads(lab("results", "leases", "--json"))
    assert (found["place"], found["reason"], found["cells"]) == (place, reason, 12)


def test_hostile_names_and_reasons_cannot_steer_a_terminal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Clear it, colour it, set its title; nor are they taken for marks of ours."""
    monkeypatch.chdir(tmp_path)
    evil = "\x1b[2J\x1b]0;title\x07\x9b31m[red]marked[/]"
    places = {"place": f"place{evil}", "soc": f"soc{evil}", "kernel": f"kernel{evil}", "path": f"path{evil}"}
    item = result(test=f"suites/t.py::t{evil}", status=Status.FAIL, reason=f"because {evil}", **places)
    lease = LeaseRecord(
        run=run().id, place=places["place"], target="t", holder=f"ci/{evil}", asked=item.started,
        since=item.started, until=item.started, ended=Ended.LOST, reason=evil,
    )  # fmt: skip
    made, log = RunFolder.create(run(plan([item])))
    with log:
        log.write(item)
        log.note(lease)
    made.publish()
    for words in ("results list", "results show", "results trend suites", "results leases", "compare"):
        told = lab(*words.split())
        assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]", told), (words, told)
        if words != "results list":
            assert "[red]" in told, (words, told)
    lab("compare", "-f", "text", "-o", "socs.txt")
    assert "\x1b" not in Path("socs.txt").read_text()
    assert not re.search(r"-- .*[\x1b\x9b]", lab("expect", "update", "--folder", "expectations"))


def test_a_comparison_goes_where_its_name_says(folder: RunFolder, tmp_path: Path) -> None:
    folder.publish()
    lab("compare", "-o", "socs.md")
    assert Path("socs.md").read_text().startswith("**")
    with pytest.raises(SharelabError, match=r"x\.pdf: its name says no form"):
        lab("compare", "-o", "x.pdf")
    lab("compare", "-o", "x.pdf", "--format", "csv")
    assert Path("x.pdf").read_text().startswith("section,")


def test_lab_expect(folder: RunFolder, tmp_path: Path) -> None:
    folder.publish()
    where = tmp_path / "expectations"
    diff = lab("expect", "update", "--folder", str(where))
    assert "+fail  corrupt      off         suites/board/test_import.py" in diff
    assert "put a link in place of LINK" in diff
    assert not where.exists()
    lab("expect", "update", "--folder", str(where), "--write")
    with pytest.raises(SharelabError, match="no link"):
        lab("expect", "list", "--folder", str(where))
    for file in where.rglob("*.txt"):
        file.unlink()
    lab("expect", "update", "--folder", str(where), "--write", "--link", "https://example.org/1")
    assert "https://example.org/1" in lab("expect", "list", "--folder", str(where))
