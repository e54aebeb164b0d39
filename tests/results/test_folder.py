"""A run's folder, and the files made from its log."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree as Xml

import pytest

from lab.base.errors import ConfigError
from lab.base.ids import new_id
from lab.results import Outcome, ResultLog
from lab.results.folder import RunFolder, write_json
from lab.results.store import Store
from tests.results.sample import STARTED, bad_run, result, run


def test_publishing_makes_every_file_and_does_so_again(folder: RunFolder, tmp_path: Path) -> None:
    extra = tmp_path / "ci" / "out.json"
    outcome, contents = folder.publish(json=extra)
    assert (contents.problems, len(outcome.cells)) == ((), 65)
    first = {path.name: path.read_bytes() for path in folder.path.iterdir()}
    assert sorted(first) == ["junit.xml", "report.html", "results.json", "results.jsonl"]
    assert extra.read_bytes() == first["results.json"]
    assert Xml.fromstring(first["junit.xml"]).get("tests") == "65"
    folder.publish()
    assert {path.name: path.read_bytes() for path in folder.path.iterdir()} == first
    with Store(folder.store) as store:
        assert len(store.results(run().id)) == len(bad_run())
    assert (tmp_path / "results" / "latest" / "report.html").samefile(folder.report)


def test_the_document_has_what_the_page_promises(folder: RunFolder) -> None:
    folder.publish()
    document = json.loads(folder.json.read_text())
    assert (document["schema"], document["exit_code"], document["counts"]["FAIL"]) == (1, 1, 1)
    cell = next(cell for cell in document["cells"] if cell["status"] == "FAIL")
    assert (cell["target"], cell["place"], cell["allocator"], cell["importer"]) == (
        "virt-dma32", "virt-dma32", "udmabuf-4k", "decoder",
    )  # fmt: skip
    assert cell["iommu"] == {"asked": "off", "verified": "off"}
    assert (cell["verdict"], cell["expected"], cell["as_expected"]) == ("corrupt", "refused", False)
    assert cell["evidence"]["bounced"] == 10
    page = (Path(__file__).parents[2] / "docs" / "results.md").read_text()
    missing = [key for key in (*document, *cell) if f"`{key}`" not in page]
    assert missing == []


def test_a_run_that_was_killed_can_be_published(folder: RunFolder) -> None:
    folder.log.write_bytes(folder.log.read_bytes()[:-100])
    outcome, contents = folder.publish()
    assert len(contents.problems) == 1
    assert outcome.counts["MISS"] == 2  # type: ignore[index]


def test_two_runs_never_share_a_folder(folder: RunFolder) -> None:
    with pytest.raises(ConfigError, match="cannot be made"):
        RunFolder.create(run())
    assert new_id(STARTED).startswith("2026-11-22T21-04-33-")
    assert isinstance(ResultLog(folder.log), ResultLog)


def test_a_place_that_takes_no_file_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="cannot be written"):
        write_json(Outcome.of([result()]), tmp_path / "file" / "results.json")
    assert list(tmp_path.iterdir()) == [tmp_path / "file"]
