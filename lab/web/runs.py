"""Runs for pages: from the store, or from the log of one that still goes on."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field, replace
from pathlib import Path

from lab.base.errors import ConfigError
from lab.base.words import IommuMode
from lab.results.folder import RunFolder
from lab.results.listing import RunLine
from lab.results.log import read
from lab.results.model import CellKey, Result
from lab.results.outcome import Outcome
from lab.results.query import Query
from lab.results.rows import light_result
from lab.results.runpage import Detail, detail_of
from lab.results.store import Store
from lab.results.trends import Trends, look_back
from lab.web.live import Running, RunNow, run_now

LINES_AGE = 5.0
"""How old a list of runs may be, in seconds."""


class KeptStore:
    """A result store that is opened when it is first asked for, and then kept: it may not be there yet."""

    def __init__(self, path: Path | str) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._store: Store | None = None

    def __call__(self) -> Store:
        """The store. Raises ConfigError while there is none."""
        with self._lock:
            if self._store is None:
                self._store = Store(self.path, create=False)
            return self._store

    def close(self) -> None:
        """Let go of it."""
        with self._lock:
            if self._store is not None:
                self._store.close()
                self._store = None


@dataclass(frozen=True)
class Runs:
    """Runs that are in ``store``, and those in folders that ``running`` knows."""

    store: KeptStore
    running: Running
    _lines: dict[int, tuple[float, list[RunLine]]] = field(default_factory=dict)

    def lines(self, limit: int) -> list[RunLine]:
        """The newest runs, as of some seconds ago: everybody's home page has them. Raises ConfigError."""
        read, lines = self._lines.get(limit, (-LINES_AGE, []))
        if time.monotonic() - read > LINES_AGE:
            store = self.store()
            lines = [RunLine.of(run, store.outcome(run, heavy=False)) for run in store.runs(limit)]
            self._lines[limit] = time.monotonic(), lines
        return lines

    def outcome(self, run: str) -> tuple[Outcome, RunNow | None, bool]:
        """What came of a run so far, what it does now, and whether the store has it.

        Of a run that goes on, cells without a result are not missing. Raises ConfigError for an unknown one.
        """
        try:
            store = self.store()
            return store.outcome(store.find(run), heavy=False), None, True
        except ConfigError:
            folder = self._folder(run)
        contents, now = read(folder.log), run_now(folder)
        about = replace(contents.run, planned=()) if contents.run and now else contents.run
        return Outcome.of(contents.results, about), now, False

    def newest(self) -> Outcome:
        """The newest result of every cell that was ever measured."""
        try:
            rows = self.store().latest()
        except ConfigError:
            return Outcome.of(())
        cells = tuple(light_result(row) for row in sorted(rows, key=lambda row: row.id))
        return Outcome(None, cells, {cell.key: cell.attempt for cell in cells})

    def trends(self, run: str) -> Trends | None:
        """How the run's cells came out before. Raises ConfigError."""
        store = self.store()
        return look_back(store, store.outcome(store.find(run), heavy=False))

    def cell(self, run: str, key: CellKey) -> Detail:
        """One cell with its evidence. Raises ConfigError where the run has none of that key."""
        found = [result for result in self._attempts(run, key) if result.key == key]
        if not found:
            raise ConfigError(f"run '{run}' has no such cell")
        return detail_of(Outcome.of(found).cells[0], len(found))

    def _attempts(self, run: str, key: CellKey) -> list[Result]:
        try:
            store = self.store()
            asked = Query(
                runs=(store.find(run).id,), targets=(key.target,), modes=(key.iommu,), tests=(key.test,)
            )
            return [store.result(row.id) for row in store.select(asked)]
        except ConfigError:
            return list(read(self._folder(run).log).results)

    def _folder(self, run: str) -> RunFolder:
        folder = self.running.folder(run)
        if folder is None:
            raise ConfigError(f"no run '{run}'")
        return folder


def key_of(target: str, iommu: str, test: str) -> CellKey:
    """The key of a cell as an address has it. Raises ConfigError."""
    try:
        return CellKey(target, IommuMode(iommu), test)
    except ValueError:
        raise ConfigError(f"'{iommu}' is not an IOMMU mode") from None
