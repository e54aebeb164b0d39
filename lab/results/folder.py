"""The folder of a run, ``results/ID/``, and the files that are made from its log."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from lab.base.errors import ConfigError, LabError
from lab.results.exits import outcome_code
from lab.results.log import LogContents, ResultLog, read
from lab.results.model import SCHEMA, Run, as_dict, iso
from lab.results.outcome import Outcome

if TYPE_CHECKING:
    from lab.results.trends import Trends

STORE = "store.sqlite"


def default_base() -> Path:
    """Where runs and the store lie unless something else is asked for: ``results`` in the current folder."""
    return Path("results")


def store_of(given: str | Path | None, base: Path | None = None) -> str | Path:
    """Which store to use: the one that is given, that of LAB_STORE, or the file in ``base``."""
    return given or os.environ.get("LAB_STORE") or (base or default_base()) / STORE


@dataclass(frozen=True, slots=True)
class RunFolder:
    """Where one run keeps its files: the log while it runs, reports when it has ended."""

    path: Path

    @classmethod
    def create(cls, run: Run, base: Path | None = None) -> tuple[RunFolder, ResultLog]:
        """The folder of a new run with its open log; ``results/latest`` points to it.

        Raises ConfigError where it cannot be made, LabError where the log cannot be written.
        """
        base = base or default_base()
        folder = cls(base / run.id)
        try:
            folder.path.mkdir(parents=True)
        except OSError as error:
            raise ConfigError(f"cannot be made ({error.strerror})", file=folder.path) from None
        log = ResultLog.create(folder.log, run)
        _point(base / "latest", run.id)
        return folder, log

    @property
    def log(self) -> Path:
        """The truth of the run: one JSON line per result."""
        return self.path / "results.jsonl"

    @property
    def events(self) -> Path:
        """What happens while it runs, as JSON lines: for the eyes only, results are in the log."""
        return self.path / "events.jsonl"

    def console(self, board: str) -> Path:
        """What ``board`` writes to its serial console while it runs."""
        return self.path / f"console-{board.replace('/', '-')}.log"

    @property
    def report(self) -> Path:
        """The HTML report."""
        return self.path / "report.html"

    @property
    def junit(self) -> Path:
        """JUnit XML."""
        return self.path / "junit.xml"

    @property
    def json(self) -> Path:
        """Every cell as one JSON document."""
        return self.path / "results.json"

    @property
    def store(self) -> Path:
        """The store that all runs of this base share."""
        return self.path.parent / STORE

    def publish(
        self,
        *,
        json: Path | None = None,
        junit: Path | None = None,
        report: Path | None = None,
        store: str | Path | None = None,
    ) -> tuple[Outcome, LogContents]:
        """Make every file from the log and take it into the store. Do it as often as you like.

        ``json``, ``junit``, ``report`` are further places for copies of those; ``store`` is a path or a
        URL. Raises ConfigError where a file cannot be written. A store that cannot be reached is among the
        problems of what is returned: the log is kept, and can be taken in later.
        """
        from lab.results.store import Store
        from lab.results.trends import look_back

        contents = read(self.log)
        outcome = Outcome.of(contents.results, contents.run)
        write_json(outcome, self.json, *_given(json))
        write_junit(outcome, self.junit, *_given(junit))
        trends = None
        try:
            with Store(store_of(store, self.path.parent)) as kept:
                kept.ingest(contents)
                trends = look_back(kept, outcome)
        except LabError as error:
            later = f"it is kept: lab results add {self.path}"
            contents = replace(contents, problems=(*contents.problems, f"{error}; {later}"))
        finally:  # without a store it only lacks what came before
            write_report(outcome, self.report, *_given(report), trends=trends)
        return outcome, contents


def write_json(outcome: Outcome, *paths: Path) -> None:
    """The outcome as one JSON document into every one of ``paths``; ``-`` is standard output."""
    _write(lambda: as_json(outcome).encode("ascii"), paths)


def write_junit(outcome: Outcome, *paths: Path) -> None:
    """JUnit XML into every one of ``paths``; ``-`` is standard output."""
    from lab.results.junit import junit

    _write(lambda: junit(outcome), paths)


def write_report(outcome: Outcome, *paths: Path, trends: Trends | None = None) -> None:
    """The HTML report into every one of ``paths``; ``-`` is standard output."""
    from lab.results.report import report

    _write(lambda: report(outcome, trends).encode("utf-8"), paths)


def write_file(make: Callable[[], bytes], path: Path) -> None:
    """What ``make`` gives into ``path``, whole or not at all; ``-``: standard output. Raises ConfigError."""
    _write(make, (path,))


def as_json(outcome: Outcome) -> str:
    """What ``--json`` gives (docs/results.md has the keys)."""
    cells = []
    for cell in outcome.cells:
        values = as_dict(cell)
        values["iommu"] = {"asked": values.pop("iommu_asked"), "verified": values.pop("iommu_verified")}
        cells.append({**values, "attempts": outcome.attempts[cell.key], "as_expected": cell.as_expected})
    run = outcome.run
    document = {
        "schema": SCHEMA,
        "run": run.id if run else None,
        "started": iso(run.started) if run else None,
        "command": run.command if run else "",
        "environment": run.environment if run else {},
        "exit_code": int(outcome_code(outcome)),
        "counts": outcome.counts,
        "cells": cells,
    }
    return json.dumps(document, indent=1, allow_nan=False) + "\n"


def _given(path: Path | None) -> tuple[Path, ...]:
    return () if path is None else (path,)


def _write(make: Callable[[], bytes], paths: tuple[Path, ...]) -> None:
    """Every file whole or not at all: written beside its place and then moved there."""
    if not paths:
        return
    data = make()
    for path in paths:
        try:
            if str(path) == "-":
                sys.stdout.buffer.write(data)
                sys.stdout.buffer.flush()
                continue
            if path.exists() and not path.is_file():  # a pipe or a terminal: nothing to move into place
                path.write_bytes(data)
                continue
            path.parent.mkdir(parents=True, exist_ok=True)
            beside = path.with_name(f".{path.name}.{os.getpid()}")
            try:
                beside.write_bytes(data)
                beside.replace(path)
            finally:
                beside.unlink(missing_ok=True)
        except OSError as error:
            raise ConfigError(f"cannot be written ({error.strerror})", file=path) from None


def _point(link: Path, name: str) -> None:
    """Let the symbolic link at ``link`` lead to ``name``; something else of that name is left alone."""
    if link.exists() and not link.is_symlink():
        return
    beside = link.with_name(f".{link.name}.{os.getpid()}")
    try:
        beside.unlink(missing_ok=True)
        beside.symlink_to(name)
        beside.replace(link)
    except OSError:
        beside.unlink(missing_ok=True)  # a file system without links: nothing depends on it
