"""JUnit XML: of fluster, of pytest, of LAVA, of ourselves."""

from __future__ import annotations

import io
from collections.abc import Iterator
from datetime import UTC, datetime
from xml.etree.ElementTree import Element, ParseError

from defusedxml import DefusedXmlException
from defusedxml.ElementTree import iterparse

from lab.base.errors import ConfigError
from lab.base.words import Status
from lab.results.foreign.case import MAX_LOG, Case

MAX_DEPTH = 64

_STATUS = {"failure": Status.FAIL, "error": Status.ERROR, "skipped": Status.SKIP}


def junit(data: bytes) -> Iterator[Case]:
    """The test cases of a document, read piece by piece. Raises ConfigError."""
    suites: list[tuple[str, datetime | None]] = []
    depth = 0
    root: Element | None = None
    try:
        # A document type is what entity bombs need, and no JUnit has one.
        for event, element in iterparse(io.BytesIO(data), ("start", "end"), forbid_dtd=True):
            root = element if root is None else root
            depth += 1 if event == "start" else -1
            if depth > MAX_DEPTH:
                raise ConfigError(f"XML nested more than {MAX_DEPTH} deep: refused")
            if element.tag == "testsuite" and event == "start":
                suites.append((element.get("name", ""), _time(element.get("timestamp"))))
            elif element.tag == "testsuite":
                suites.pop()
                element.clear()
            elif element.tag == "testcase" and event == "end":
                yield _case(element, *(suites[-1] if suites else ("", None)))
                element.clear()
    except DefusedXmlException as error:
        raise ConfigError(f"XML with a document type or entities: refused ({type(error).__name__})") from None
    except ParseError as error:
        raise ConfigError(f"no XML ({error})") from None
    if root is None or root.tag not in ("testsuites", "testsuite"):
        raise ConfigError(f"no JUnit: its root is <{root.tag if root is not None else ''}>")


def _case(element: Element, suite: str, started: datetime | None) -> Case:
    properties = {
        item.get("name", ""): item.get("value", "") for item in element.iterfind("properties/property")
    }
    status, reason, detail = Status.PASS, "", ""
    for child in element:
        if child.tag in _STATUS:
            status = _STATUS[child.tag]
            reason = child.get("message") or (child.text or "").strip().partition("\n")[0]
            detail = child.text or ""
            if child.tag == "error" and child.get("type") == "lab":
                status = Status.MISS
            break
    outputs = [child.text or "" for child in element if child.tag in ("system-out", "system-err")]
    log = "\n".join(part for part in (detail if not properties else "", *outputs) if part)
    name = "/".join(part for part in (element.get("classname") or suite, element.get("name", "")) if part)
    return Case(
        name=name,
        status=status,
        reason=reason,
        log=log[-MAX_LOG:],
        seconds=_seconds(element.get("time")),
        started=started,
        properties=properties,
    )


def _seconds(text: str | None) -> float:
    """Their ``time``: not every tool writes a number, and some write thousands with commas."""
    try:
        value = float((text or "0").replace(",", ""))
    except ValueError:
        return 0.0
    return value if 0 <= value < 1 << 31 else 0.0


def _time(text: str | None) -> datetime | None:
    try:
        time = datetime.fromisoformat(text) if text else None
    except ValueError:
        return None
    return time if time is None or time.tzinfo else time.replace(tzinfo=UTC)
