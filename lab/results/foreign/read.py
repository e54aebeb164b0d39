"""From a file of another tool to a run that the store can take in."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import fields, replace
from datetime import UTC, datetime
from hashlib import blake2b
from pathlib import Path
from typing import Any

from lab.base.errors import ConfigError
from lab.base.words import IommuMode, Status, Verdict
from lab.results.foreign.case import MAX_CASES, Case, Origin
from lab.results.foreign.compliance import compliance
from lab.results.foreign.junit import junit
from lab.results.foreign.structured import igt, lava, parsed
from lab.results.log import LogContents
from lab.results.model import Cell, Result, Run

MAX_BYTES = 64 << 20
"""Of a file. What is larger is refused before it is read."""

FORMATS: dict[str, Callable[[bytes], Iterator[Case]]] = {
    "junit": junit,
    "v4l2-compliance": compliance,
    "igt": igt,
    "lava": lava,
}
"""Formats and their readers; ``kcidb`` beside them is read by `lab.results.kcidb`."""

_OURS = ("place", "soc", "suite", "allocator", "importer", "path", "decoder", "expected_reason", "reason",
         "image", "kernel", "vmm", "repeat")  # fmt: skip


def read(path: Path, origin: Origin, form: str = "") -> LogContents:
    """The results in the file at ``path``. Raises ConfigError with its name.

    ``form``: one of FORMATS or ``kcidb``; looked for in the file where none is given. The same file is
    the same run, so that it may be taken in twice.
    """
    try:
        return _read(path, origin, form)
    except ConfigError as error:
        raise ConfigError(error.message, file=path, hint=error.hint) from None
    except OSError as error:
        raise ConfigError(f"cannot be read ({error.strerror})", file=path) from None


def _read(path: Path, origin: Origin, form: str) -> LogContents:
    with path.open("rb") as file:
        data = file.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise ConfigError(f"larger than {MAX_BYTES >> 20} MiB: refused")
    if form and form not in (*FORMATS, "kcidb"):
        raise ConfigError(f"'{form}' is not a format", hint=", ".join([*FORMATS, "kcidb"]))
    form = form or _form_of(data)
    origin = replace(origin, tool=origin.tool or form)
    if form == "kcidb":
        from lab.results.kcidb import contents

        return contents(parsed(data))
    name = origin.run or f"{origin.tool}-{blake2b(data, digest_size=6).hexdigest()}"
    changed = datetime.fromtimestamp(int(path.stat().st_mtime), UTC)
    results: list[Result] = []
    seen: dict[tuple[str, str, str], int] = {}
    for case in FORMATS[form](data):
        if len(results) == MAX_CASES:
            raise ConfigError(f"more than {MAX_CASES} cases: refused")
        try:
            result = _result(case, origin, name, changed, form)
        except (ValueError, OverflowError) as error:
            raise ConfigError(f"case '{case.name[:80]}': {error}") from None
        seen[result.key] = seen.get(result.key, 0) + 1
        if seen[result.key] > 1:  # a name that stands twice is two cases, not two attempts
            result = _renamed(result, seen[result.key])
        results.append(result)
    if not results:
        raise ConfigError("no test case in it")
    cells = tuple(_cell(item) for item in results)
    started = min(item.started for item in results)
    return LogContents((Run(id=name, started=started, command=path.name, planned=cells),), tuple(results))


def _form_of(data: bytes) -> str:
    start = data.lstrip()[:4096]
    if start.startswith(b"<"):
        return "junit"
    if start.startswith(b"{"):
        document = parsed(data)
        return "kcidb" if "version" in document else "igt" if "tests" in document else "lava"
    if b"v4l2-compliance" in start:
        return "v4l2-compliance"
    if start.startswith((b"[", b"-")):
        return "lava"
    raise ConfigError("its format is not known", hint=f"--format {'|'.join([*FORMATS, 'kcidb'])}")


def _result(case: Case, origin: Origin, run: str, changed: datetime, form: str) -> Result:
    own = case.properties if form == "junit" and {"target", "iommu", "test"} <= case.properties.keys() else {}
    values: dict[str, Any] = {
        "run": run,
        "test": f"{origin.tool}::{case.name}",
        "target": origin.target,
        "soc": origin.soc,
        "place": origin.place,
        "kernel": origin.kernel,
        "suite": origin.tool,
        "iommu_asked": origin.iommu,
        "status": case.status,
        "started": case.started or changed,
        "reason": case.reason,
        "log": case.log,
        "duration": case.seconds,
        "metrics": dict(case.metrics),
    }
    if own:
        values |= {name: own.get(name, "") for name in _OURS}
        values |= {"test": own["test"], "target": own["target"], "iommu_asked": IommuMode(own["iommu"])}
        values["status"] = Status(own.get("status", str(case.status)))
        for name, kind in (("verdict", Verdict), ("expected", Verdict), ("iommu_verified", IommuMode)):
            values[name] = kind(own[name]) if own.get(name) else None
    return Result(**values)


def _renamed(result: Result, number: int) -> Result:
    values = {each.name: getattr(result, each.name) for each in fields(Result)}
    return Result(**{**values, "test": f"{result.test}#{number}"})


def _cell(result: Result) -> Cell:
    names = [each.name for each in fields(Cell) if each.name != "iommu"]
    return Cell(iommu=result.iommu_asked, **{name: getattr(result, name) for name in names})
