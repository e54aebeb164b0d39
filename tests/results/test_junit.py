"""JUnit XML is well-formed whatever the results hold, and says what CI systems look for."""

from __future__ import annotations

from xml.etree import ElementTree as Xml

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lab.base.words import IommuMode, Status
from lab.results import Outcome, Result
from lab.results.junit import junit
from tests.results.sample import bad_run, good_run, plan, result, run
from tests.results.strategies import results


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(results(), max_size=5))
def test_any_result_gives_a_document_that_can_be_read(items: list[Result]) -> None:
    outcome = Outcome.of(items)
    root = Xml.fromstring(junit(outcome))
    cases = list(root.iter("testcase"))
    assert len(cases) == len(outcome.cells)
    for name, tag in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
        assert int(root.get(name, "")) == len(list(root.iter(tag)))
        assert int(root.get(name, "")) == sum(int(suite.get(name, "")) for suite in root.iter("testsuite"))


def test_text_comes_back_as_it_was_but_for_what_xml_cannot_hold() -> None:
    log = "<b>]]>&amp; \x1b[31m\x00\ufffe end\n\tü"
    root = Xml.fromstring(junit(Outcome.of([result(log=log)])))
    assert root.findtext(".//system-out") == "<b>]]>&amp; \ufffd[31m␀\ufffd end\n\tü"


def test_the_bad_run() -> None:
    outcome = Outcome.of(bad_run(), run(plan(good_run())))
    root = Xml.fromstring(junit(outcome))
    assert {name: root.get(name) for name in ("tests", "failures", "errors", "skipped")} == {
        "tests": "65",
        "failures": "1",
        "errors": "2",
        "skipped": "1",
    }
    assert [suite.get("name") for suite in root] == [
        "virt-smmu.off",
        "virt-smmu.passthrough",
        "virt-smmu.translated",
        "virt-cma.off",
        "virt-dma32.off",
    ]
    (failure,) = root.iter("failure")
    assert failure.get("message") == (
        "virt-dma32 off  udmabuf, 4K pages, scattered: corrupt, expected refused (EFAULT)"
    )
    assert "repeat" not in (failure.text or "")
    assert "lab run board --target virt-dma32 --iommu off -k udmabuf-4k" in (failure.text or "")
    assert sorted(error.get("type", "") for error in root.iter("error")) == ["lab", "test"]


def test_properties_of_a_case() -> None:
    root = Xml.fromstring(junit(Outcome.of([result("virt-smmu", IommuMode.OFF, "vgem", status=Status.PASS)])))
    case = root.find(".//testcase")
    assert case is not None
    assert case.get("name") == "test_decoder_writes_into_imported_buffer[vgem]"
    assert case.get("classname") == "virt-smmu.off.suites.board.test_import"
    found = {item.get("name"): item.get("value") for item in case.iter("property")}
    assert found["verdict"] == found["expected"] == "refused"
    assert (found["target"], found["place"], found["iommu"], found["errno"]) == (
        "virt-smmu", "virt-smmu", "off", "EFAULT",
    )  # fmt: skip
