"""Expectations: what is known of single cells, in text files that are reviewed like code.

``expectations/all.txt`` is for every board, ``soc/NAME.txt`` for a SoC, ``board/NAME.txt`` for one board
(a place; for a virtual board, its target). The most specific file that knows a cell speaks for it; in a
file an exact test name goes before a pattern, an IOMMU mode before ``*``, a later line before an earlier.

A line (docs/expectations.md)::

    KIND   STATE    IOMMU  TEST                                          -- REASON  LINK
    fail   corrupt  off    suites/board/test_import.py::test_x[wide-vgem] -- bounced, never copied back  https://...
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from lab.base import dirs
from lab.base.errors import ConfigError
from lab.base.words import IommuMode, Verdict
from lab.results.model import Judged, as_expected, state_of

KINDS = ("fail", "flake", "skip")
STATES = (*map(str, Verdict), "fail", "error")
"""How a test can be known to fail: with a verdict, without one, or by breaking."""

ANY = "*"
NO_STATE = "-"
_LINE = re.compile(r"(\S+)\s+(\S+)\s+(\S+)\s+(\S.*?)\s+--(?:\s+(.*))?")
_LINK = re.compile(r"https?://\S+")


@dataclass(frozen=True, slots=True)
class Expectation:
    """One line: ``test`` may have ``*`` in it, for anything. ``state`` is empty but for a ``fail``."""

    kind: str
    state: str
    iommu: str
    test: str
    reason: str
    link: str
    file: str = ""
    line: int = 0

    def matches(self, iommu: IommuMode, test: str) -> bool:
        """Whether it speaks of that cell."""
        if self.iommu not in (ANY, iommu):
            return False
        if "*" not in self.test:
            return self.test == test
        return re.fullmatch(".*".join(map(re.escape, self.test.split("*"))), test, re.DOTALL) is not None

    @property
    def exact(self) -> bool:
        """Whether it speaks of one cell only."""
        return "*" not in self.test and self.iommu != ANY

    def as_dict(self) -> dict[str, str]:
        """For `Result.expectation`."""
        found = {"kind": self.kind, "state": self.state, "reason": self.reason, "link": self.link}
        return {**found, "where": f"{self.file}:{self.line}"}

    def __str__(self) -> str:
        """The line that it was read from, in columns."""
        state = self.state or NO_STATE
        return f"{self.kind:5} {state:12} {self.iommu:11} {self.test} -- {self.reason}  {self.link}"


class Expectations:
    """All expectation files of a folder, read when asked for. Raises ConfigError with file and line."""

    def __init__(self, folder: Path | None = None) -> None:
        """``folder``: where none is given, LAB_EXPECTATIONS or ``expectations`` of this checkout."""
        named = os.environ.get("LAB_EXPECTATIONS")
        self.folder = folder or (Path(named) if named else dirs.root() / "expectations")
        self._files: dict[Path, tuple[Expectation, ...]] = {}

    def of(self, *, soc: str, target: str, place: str, iommu: IommuMode, test: str) -> Expectation | None:
        """What is known of a cell."""
        for path in self._paths(soc, target, place):
            found = [item for item in self.file(path) if item.matches(iommu, test)]
            if found:
                return max(found, key=lambda item: ("*" not in item.test, item.iommu != ANY, item.line))
        return None

    def file(self, path: Path) -> tuple[Expectation, ...]:
        """The expectations in a file, none where there is no such file."""
        if path not in self._files:
            try:
                text = path.read_text(encoding="utf-8") if path.exists() else ""
            except (OSError, UnicodeDecodeError) as error:
                raise ConfigError(f"cannot be read ({error})", file=path) from None
            self._files[path] = tuple(parse(text, self._shown(path)))
        return self._files[path]

    @cached_property
    def all(self) -> tuple[Expectation, ...]:
        """Every line of every file: reading them all checks them all."""
        return tuple(item for path in sorted(self.folder.rglob("*.txt")) for item in self.file(path))

    def check(self) -> None:
        """Read every file. Raises ConfigError for the first line that cannot be read."""
        _ = self.all

    def for_soc(self, soc: str) -> Path:
        """The file of a SoC."""
        return self.folder / "soc" / f"{_plain(soc)}.txt"

    def for_board(self, board: str) -> Path:
        """The file of a place, or of a target."""
        return self.folder / "board" / f"{_plain(board)}.txt"

    def _paths(self, soc: str, target: str, place: str) -> list[Path]:
        boards = [self.for_board(name) for name in dict.fromkeys((place, target)) if name]
        return [*boards, *([self.for_soc(soc)] if soc else []), self.folder / "all.txt"]

    def _shown(self, path: Path) -> str:
        parent = self.folder.parent
        return str(path.relative_to(parent) if path.is_relative_to(parent) else path)


def parse(text: str, file: str) -> Iterator[Expectation]:
    """The expectations in the text of a file. Raises ConfigError with file and line."""
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        found = _LINE.fullmatch(line.strip())
        if found is None:
            raise ConfigError(
                "not KIND STATE IOMMU TEST -- REASON LINK",
                file=file,
                line=number,
                hint="docs/expectations.md",
            )
        kind, state, iommu, test, rest = found.groups()
        problem = _problem(kind, state, iommu)
        reason, _, link = (rest or "").rpartition(" ")
        if not problem and not _LINK.fullmatch(link):
            problem = "no link at its end: where is it discussed? https://..."
        if not problem and not reason.strip():
            problem = "no reason between -- and the link"
        if problem:
            raise ConfigError(problem, file=file, line=number)
        state = "" if state == NO_STATE else state
        yield Expectation(kind, state, iommu, test, reason.strip(), link, file, number)


def news(result: Judged) -> str:
    """What an expectation makes of how a cell came out, in a few words; empty where there is none."""
    known = result.expectation
    if not known or result.status == "MISS":
        return ""
    if known.get("kind") == "skip":
        return "known: not run here"
    if known.get("kind") == "flake":
        return "known to be flaky" if as_expected(result) else ""
    if as_expected(result):
        return f"known to fail ({known.get('state')})"
    if result.status in ("PASS", "DONE"):
        return f"passes now, was known to fail ({known.get('state')})"
    return f"fails in another way: {state_of(result)}, was known as {known.get('state')}"


def _problem(kind: str, state: str, iommu: str) -> str:
    if kind not in KINDS:
        return f"'{kind}' is not a kind of expectation: {', '.join(KINDS)}"
    if kind == "fail" and state not in STATES:
        return f"'{state}' is not a way to fail: {', '.join(STATES)}"
    if kind != "fail" and state != NO_STATE:
        return f"a {kind} has no state: write {NO_STATE}"
    if iommu != ANY and iommu not in set(IommuMode):
        return f"'{iommu}' is not an IOMMU mode: {', '.join(IommuMode)} or {ANY}"
    return ""


def _plain(name: str) -> str:
    """A name as a file's: it may come from anywhere and must not lead out of its folder."""
    return re.sub(r"[^A-Za-z0-9._-]", "_", name).lstrip(".") or "_"
