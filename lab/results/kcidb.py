"""KCIDB v5.3: a run as a report of kernel CI, and reports of ours back as results.

kcidb-io checks the form of a report and not whether its objects refer to each other rightly, so
``problems`` does. Every field of a result that a report can hold is in ``misc`` as well as where KCIDB
looks for it, so what was exported can be imported; frames and the beginning of long logs stay behind.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from lab.base.errors import ConfigError
from lab.base.words import Status
from lab.results.log import LogContents
from lab.results.matrix import headline
from lab.results.model import LineError, Result, Run, as_dict, from_dict, iso
from lab.results.outcome import Outcome
from lab.results.records import digest

ORIGIN = "sharelab"
LOG_CHARACTERS = 16384
"""What ``log_excerpt`` takes (kcidb_io/schema/v05_03.py)."""

_ORIGIN = re.compile(r"[a-z0-9_]+")
_UNITS = (("_per_second", "1/s"), ("_seconds", "s"), ("_bytes", "B"))
_LINKS = {
    "builds": {"checkout_id": "checkouts"},
    "tests": {"build_id": "builds"},
    "incidents": {"issue_id": "issues", "build_id": "builds", "test_id": "tests"},
}
_LISTS = ("checkouts", "builds", "tests", "issues", "incidents")


def report(outcome: Outcome, origin: str = ORIGIN) -> dict[str, Any]:
    """The report of a run: a test per cell, and one per figure of it. Raises ConfigError."""
    if not _ORIGIN.fullmatch(origin):
        raise ConfigError(f"'{origin}' is not an origin for KCIDB", hint="small letters, digits and _ only")
    lists: dict[str, dict[str, dict[str, Any]]] = {name: {} for name in _LISTS}
    for cell in outcome.cells:
        for name, item in _objects(cell, outcome, origin):
            lists[name].setdefault(item["id"], {**item, "origin": origin})
    found: dict[str, Any] = {"version": {"major": 5, "minor": 3}}
    found.update({name: list(items.values()) for name, items in lists.items() if items})
    wrong = problems(found)
    if wrong:
        raise AssertionError(f"the report is not valid: {wrong[0]}")
    return found


def problems(document: Any) -> list[str]:
    """What is wrong with a report: its form as kcidb-io sees it, then what refers to nothing."""
    from jsonschema import ValidationError
    from kcidb_io.schema import V5_3

    try:
        V5_3.validate(document)
    except ValidationError as error:
        where = "".join(f"[{part!r}]" for part in error.absolute_path)
        return [f"{where or 'report'}: {error.message[:300]}"]
    wrong = []
    ids = {name: [item["id"] for item in document.get(name, [])] for name in _LISTS}
    for name in _LISTS:
        if len(set(ids[name])) < len(ids[name]):
            wrong.append(f"{name}: an id stands twice")
        for item in document.get(name, []):
            if item["id"].partition(":")[0] != item["origin"]:
                wrong.append(f"{name}: {item['id']} does not begin with its origin {item['origin']}")
            wrong += [
                f"{name}: {item['id']} refers to {key} {item[key]}, which is not there"
                for key, target in _LINKS.get(name, {}).items()
                if key in item and item[key] not in set(ids[target])
            ]
    return wrong


def kept(result: Result) -> Result:
    """What a report holds of a result."""
    evidence = {name: value for name, value in result.evidence.items() if name != "frames"}
    return replace(result, evidence=evidence, log=result.log[-LOG_CHARACTERS:])


def contents(document: Any) -> LogContents:
    """The results in a report of ours. Raises ConfigError where it is no valid report, or not ours."""
    wrong = problems(document)
    if wrong:
        raise ConfigError(f"no valid KCIDB report: {wrong[0]}")
    runs: dict[str, Run] = {}
    results = []
    for test in document.get("tests", []):
        ours = test.get("misc", {}).get("sharelab")
        if not isinstance(ours, dict) or "number" in test:
            continue
        try:
            found = from_dict(Result, {**ours, "log": test.get("log_excerpt", "")})
        except LineError as error:
            raise ConfigError(f"test {test['id']}: {error}") from None
        runs.setdefault(found.run, Run(id=found.run, started=found.started))
        runs[found.run] = runs[found.run].joined(Run(id=found.run, started=found.started))
        results.append(found)
    if not results:
        raise ConfigError("no result of sharelab in this KCIDB report")
    return LogContents(tuple(runs.values()), tuple(results))


def _objects(cell: Result, outcome: Outcome, origin: str) -> Iterator[tuple[str, dict[str, Any]]]:
    kernel, image = cell.kernel or "unknown", cell.image or "unknown"
    checkout, build = f"{origin}:{digest(kernel)}", f"{origin}:{digest((kernel, image))}"
    yield "checkouts", {"id": checkout, "comment": f"kernel {kernel}", "misc": {"kernel": cell.kernel}}
    what = {"comment": f"kernel {kernel}, image {image[:12]}", "architecture": "arm64"}
    yield "builds", {"id": build, "checkout_id": checkout, **what, "misc": {"image": cell.image}}
    number = f"{origin}:{digest((cell.run, *cell.key, cell.attempt))}"
    common = {
        "build_id": build,
        "start_time": iso(cell.started),
        "environment": {
            "comment": f"{cell.place or cell.target}, IOMMU {cell.iommu_verified or cell.iommu_asked}",
            "misc": {
                "target": cell.target,
                "soc": cell.soc,
                "board": cell.place,
                "iommu": {"asked": cell.iommu_asked, "verified": cell.iommu_verified},
                "vmm": cell.vmm,
                **{name: value for name, value in cell.environment.items() if name != "iommu"},
            },
        },
    }
    light = as_dict(kept(cell))
    del light["log"]
    yield (
        "tests",
        {
            "id": number,
            **common,
            "path": _path(cell),
            "status": str(cell.status),
            "duration": cell.duration,
            "comment": headline(cell),
            "log_excerpt": cell.log[-LOG_CHARACTERS:],
            "misc": {"sharelab": light, "attempts": outcome.attempts.get(cell.key, 1)},
        },
    )
    for name, value in cell.metrics.items():
        unit = next((unit for end, unit in _UNITS if name.endswith(end)), "")
        figure = {"value": value, "prefix": "metric", **({"unit": unit} if unit else {})}
        yield (
            "tests",
            {
                "id": f"{number}:{digest(name)}",
                **common,
                "path": f"{_path(cell)}.{_word(name)}",
                "status": str(Status.DONE),
                "number": figure,
            },
        )
    yield from _known(cell, number, origin)


def _known(cell: Result, test: str, origin: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """The issue that an expectation is, and whether it was met here."""
    known = cell.expectation
    if known.get("kind") not in ("fail", "flake") or not known.get("link"):
        return
    issue = f"{origin}:{digest((known['link'], known.get('reason', '')))}"
    subject = known.get("reason", "")
    culprit = {"code": True, "tool": False, "harness": False}
    about = {"report_url": known["link"], "report_subject": subject, "culprit": culprit}
    yield "issues", {"id": issue, "version": 0, **about, "misc": {"where": known.get("where", "")}}
    if cell.status is Status.MISS:
        return
    met = cell.status in (Status.FAIL, Status.ERROR) and cell.as_expected
    link = {"issue_id": issue, "issue_version": 0, "test_id": test, "present": met}
    yield "incidents", {"id": f"{origin}:{digest((issue, test))}", **link}


def _path(cell: Result) -> str:
    """Dots between the levels; KCIDB takes letters, digits, _ and - only."""
    module, _, name = cell.test.partition("::")
    parts = [ORIGIN, *module.removesuffix(".py").split("/"), *(name.split("::") if name else [])]
    return ".".join(_word(part) for part in parts if part)


def _word(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9_-]+", "_", text).strip("_") or "_"


def merged(reports: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Several reports as one; an object that is in many of them is taken once."""
    found: dict[str, Any] = {"version": {"major": 5, "minor": 3}}
    for name in _LISTS:
        items = {item["id"]: item for each in reports for item in each.get(name, [])}
        if items:
            found[name] = list(items.values())
    return found
