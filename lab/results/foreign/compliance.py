"""The text that v4l2-compliance prints (v4l-utils, utils/v4l2-compliance/v4l2-compliance.cpp)."""

from __future__ import annotations

import re
from collections.abc import Iterator

from lab.base.errors import ConfigError
from lab.base.words import Status
from lab.results.foreign.case import Case

_TEST = re.compile(r"\s+test (?P<name>.+?): (?P<result>OK(?: \(.*\))?|FAIL.*)\s*")
_SECTION = re.compile(r"(?P<name>\S.*):\s*")
_TOTAL = re.compile(r"(Grand )?Total for .*: (?P<total>\d+), Succeeded: \d+, Failed: \d+")
_ESCAPES = re.compile(r"\x1b\[[0-9;]*m")


def compliance(data: bytes) -> Iterator[Case]:
    """A case per ``test`` line, named with its section; a MISS for a text that was cut off.

    Raises ConfigError.
    """
    section = ""
    told: list[str] = []
    names: dict[str, int] = {}
    total: int | None = None
    for raw in data.decode("utf-8", "replace").splitlines():
        line = _ESCAPES.sub("", raw)
        if found := _TEST.fullmatch(line):
            name = f"{section}/{found['name']}" if section else found["name"]
            names[name] = names.get(name, 0) + 1
            yield Case(
                name=name if names[name] == 1 else f"{name}#{names[name]}",
                status=_status(found["result"]),
                reason=told[0] if told else ("" if found["result"] == "OK" else found["result"]),
                log="\n".join(told),
            )
            told = []
        elif found := _TOTAL.match(line):
            total = int(found["total"])
        elif line.lstrip().startswith(("fail: ", "warn: ")):
            told.append(line.strip())
        elif found := _SECTION.fullmatch(line):
            section, told = found["name"], []
    if not names:
        raise ConfigError("no test of v4l2-compliance in it")
    count = sum(names.values())
    if total is None or total != count:
        said = "its total is missing" if total is None else f"it says {total}"
        yield Case(
            name="Total",
            status=Status.MISS,
            reason=f"{count} tests were read and {said}: it was cut off",
        )


def _status(result: str) -> Status:
    if result.startswith("FAIL"):
        return Status.FAIL
    return Status.SKIP if "Not Supported" in result else Status.PASS
