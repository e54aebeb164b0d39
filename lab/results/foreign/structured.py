"""JSON of IGT (results.json of igt_results) and results of LAVA (YAML or JSON)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import yaml

from lab.base.errors import ConfigError
from lab.base.words import Status
from lab.results.foreign.case import MAX_LOG, Case

_IGT = {
    "pass": Status.PASS,
    "fail": Status.FAIL,
    "warn": Status.FAIL,
    "dmesg-warn": Status.FAIL,  # the test passed and the kernel complained
    "dmesg-fail": Status.FAIL,
    "timeout": Status.FAIL,
    "crash": Status.ERROR,
    "skip": Status.SKIP,
    "notrun": Status.SKIP,
    "incomplete": Status.MISS,
    "abort": Status.MISS,
}
_LAVA = {"pass": Status.PASS, "fail": Status.FAIL, "skip": Status.SKIP, "unknown": Status.ERROR}


def parsed(data: bytes) -> Any:
    """JSON. Raises ConfigError."""
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"no JSON ({str(error)[:200]})") from None


def igt(data: bytes) -> Iterator[Case]:
    """The tests of an IGT run (igt-gpu-tools, runner/resultgen.c). Raises ConfigError."""
    document = parsed(data)
    tests = document.get("tests") if isinstance(document, dict) else None
    if not isinstance(tests, dict):
        raise ConfigError("no results.json of IGT: it has no tests")
    for name, test in tests.items():
        if not isinstance(test, dict):
            raise ConfigError(f"no results.json of IGT: test '{name[:80]}' is not an object")
        word = str(test.get("result", "")).lower()
        times = test.get("time")
        times = times if isinstance(times, dict) else {}
        start, end = (_number(times.get(key)) for key in ("start", "end"))
        output = "\n".join(str(test[key]) for key in ("out", "err", "dmesg") if test.get(key))
        yield Case(
            name=str(name),
            status=_IGT.get(word, Status.ERROR),
            reason="" if word == "pass" else _first(test.get("err"), word),
            log=output[-MAX_LOG:],
            seconds=max(end - start, 0.0),
            started=datetime.fromtimestamp(start, UTC) if 0 < start < 1 << 32 else None,
        )


def lava(data: bytes) -> Iterator[Case]:
    """The results of a LAVA job: a list of cases (lava_results_app). Raises ConfigError.

    A failed case of the suite ``lava`` is a fault of the lab: that suite is the job's own steps.
    """
    cases = parsed(data) if data.lstrip()[:1] in (b"[", b"{") else _yaml(data)
    cases = cases.get("results") if isinstance(cases, dict) else cases  # a page of the REST interface
    if not isinstance(cases, list) or not all(isinstance(case, dict) and "name" in case for case in cases):
        raise ConfigError("no results of LAVA: not a list of cases with names")
    for case in cases:
        suite, word = str(case.get("suite", "")), str(case.get("result", "unknown")).lower()
        status = _LAVA.get(word, Status.ERROR)
        measured = _number(case.get("measurement"), None)
        unit = str(case.get("unit") or case.get("units") or "")
        metrics = {f"{case['name']}_{unit}" if unit else str(case["name"]): measured}
        yield Case(
            name="/".join(part for part in (suite, str(case["name"])) if part),
            status=Status.MISS if suite == "lava" and status is Status.FAIL else status,
            reason="" if word == "pass" else word,
            started=_time(case.get("logged")),
            metrics={name: value for name, value in metrics.items() if value is not None},
        )


def _yaml(data: bytes) -> Any:
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        depth = 0
        for event in yaml.parse(data, loader):
            if isinstance(event, yaml.AliasEvent):
                raise ConfigError("YAML with aliases: refused")
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if depth > 64:
                raise ConfigError("YAML nested more than 64 deep: refused")
        return yaml.load(data, loader)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ConfigError(f"no YAML ({' '.join(str(error).split())[:200]})") from None


def _number(value: Any, otherwise: Any = 0.0) -> Any:
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return otherwise
    return number if abs(number) < 1e300 else otherwise


def _first(text: Any, word: str) -> str:
    lines = str(text or "").strip().splitlines()
    return f"{word}: {lines[0][:300]}" if lines else word


def _time(value: Any) -> datetime | None:
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            return None
    if not isinstance(value, datetime):
        return None
    return value if value.tzinfo else value.replace(tzinfo=UTC)
