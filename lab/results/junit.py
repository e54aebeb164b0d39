"""JUnit XML for CI systems: one test suite per target and IOMMU mode, one test case per cell.

Written with the standard library's ElementTree: it escapes markup, and what XML cannot hold at
all (control characters) has to be replaced before it whatever the library, junitparser included.
"""

from __future__ import annotations

import re
from itertools import groupby
from xml.etree import ElementTree as Xml

from lab.base.words import Status
from lab.results.expectations import news
from lab.results.look import errno_name
from lab.results.matrix import headline
from lab.results.model import Result
from lab.results.outcome import Outcome

# What is no Char of XML 1.0 (https://www.w3.org/TR/xml/#charsets).
_NO_CHAR = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def junit(outcome: Outcome) -> bytes:
    """The document, UTF-8 with its declaration. Well-formed whatever the results hold."""
    root = Xml.Element("testsuites", name=_text(outcome.run.id if outcome.run else "sharelab"))
    ordered = sorted(outcome.cells, key=lambda cell: (outcome.targets.index(cell.target), cell.iommu_asked))
    for (target, mode), found in groupby(ordered, key=lambda cell: (cell.target, cell.iommu_asked)):
        cells = list(found)
        suite = Xml.SubElement(root, "testsuite", name=_text(f"{target}.{mode}"))
        _count(suite, cells)
        suite.set("timestamp", min(cell.started for cell in cells).isoformat(timespec="seconds"))
        hosts = {cell.place for cell in cells if cell.place}
        suite.set("hostname", _text(hosts.pop() if len(hosts) == 1 else target))
        for cell in cells:
            _case(suite, cell, outcome.attempts[cell.key])
    _count(root, ordered)
    Xml.indent(root)
    document: bytes = Xml.tostring(root, encoding="utf-8", xml_declaration=True)
    return document


def _case(suite: Xml.Element, cell: Result, attempts: int) -> None:
    module, _, name = cell.test.partition("::")
    classname = ".".join((cell.target, cell.iommu_asked, module.removesuffix(".py").replace("/", ".")))
    case = Xml.SubElement(suite, "testcase", classname=_text(classname), name=_text(name or module))
    case.set("time", f"{cell.duration:.3f}")
    properties = {
        "test": cell.test,
        "target": cell.target,
        "suite": cell.suite,
        "status": cell.status,
        "place": cell.place,
        "soc": cell.soc,
        "iommu": cell.iommu_asked,
        "iommu_verified": cell.iommu_verified or "",
        "path": cell.path,
        "allocator": cell.allocator,
        "importer": cell.importer,
        "decoder": cell.decoder,
        "verdict": cell.verdict or "",
        "expected": cell.expected or "",
        "expected_reason": cell.expected_reason,
        "errno": errno_name(cell.errno),
        "reason": cell.reason,
        "attempts": str(attempts),
        "image": cell.image,
        "kernel": cell.kernel,
        "vmm": cell.vmm,
        "repeat": cell.repeat,
    }
    listed = Xml.SubElement(case, "properties")
    for key, value in properties.items():
        if value:
            Xml.SubElement(listed, "property", name=key, value=_text(value))
    detail = "\n".join((*((cell.reason,) if cell.reason else ()), *cell.reasons, cell.repeat))
    tag, kind = _kind(cell)
    if tag == "skipped":
        message = f"{news(cell)}: {cell.expectation['reason']}" if kind else cell.reason
        skipped = Xml.SubElement(case, tag, message=_text(message))
        if kind:
            skipped.set("type", kind)
    elif tag:
        problem = Xml.SubElement(case, tag, type=kind, message=_text(headline(cell)))
        problem.text = _text(detail)
    if cell.log:
        Xml.SubElement(case, "system-out").text = _text(cell.log)


def _kind(cell: Result) -> tuple[str, str]:
    """Element and type for a cell; no element for a good one.

    CI systems have no word for a failure that is known: pytest writes its own as skipped, and so do we.
    """
    if cell.as_expected:
        known = "known" if cell.status in (Status.FAIL, Status.ERROR) else ""
        return ("skipped" if known or cell.status is Status.SKIP else "", known)
    return {
        Status.ERROR: ("error", "test"),
        Status.MISS: ("error", "lab"),
        Status.PASS: ("failure", "improved"),
        Status.DONE: ("failure", "improved"),
    }.get(cell.status, ("failure", "unexpected"))


def _count(element: Xml.Element, cells: list[Result]) -> None:
    element.set("tests", str(len(cells)))
    tags = [_kind(cell)[0] for cell in cells]
    for name, tag in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
        element.set(name, str(tags.count(tag)))
    element.set("time", f"{sum(cell.duration for cell in cells):.3f}")


def _text(value: str) -> str:
    return _NO_CHAR.sub("\N{REPLACEMENT CHARACTER}", value)
