"""The result log: one JSON line per result, on the disk before the next test starts.

The log is the truth of a run until it is in the store. It may be killed at any byte: every line
is appended by one write under a lock and synced, a reader takes every whole line and says what
it could not read, and a writer that finds a cut line ends it first. Several processes may append
to one log (one pytest process per board).
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from lab.base.errors import ConfigError, LabError
from lab.results.model import LineError, Result, Run, parse_line, to_line
from lab.results.places import HealthRecord, LeaseRecord

MAX_LINE = 64 << 20
"""Bytes that a reader takes as one line; a longer one is reported and passed over, never loaded."""


@dataclass(frozen=True, slots=True)
class LogContents:
    """What a log holds. ``problems``: one line each on what could not be read, with file and line.

    A log has one run; a file that was put together from several logs has as many.
    """

    runs: tuple[Run, ...]
    results: tuple[Result, ...]
    problems: tuple[str, ...] = ()
    leases: tuple[LeaseRecord, ...] = ()
    health: tuple[HealthRecord, ...] = ()

    @property
    def run(self) -> Run | None:
        """The run, unless its line was lost."""
        return self.runs[0] if self.runs else None


class ResultLog:
    """A log that is open for appending. Use ``create`` once per run, ``ResultLog(path)`` to append."""

    def __init__(self, path: Path) -> None:
        """Open the log at ``path`` to append to it. Raises LabError where that is not possible."""
        self.path = path
        try:
            self._fd = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CLOEXEC)
        except OSError as error:
            raise LabError(f"{path}: cannot be opened ({error.strerror})") from None

    @classmethod
    def create(cls, path: Path, run: Run) -> ResultLog:
        """Start the log of ``run``. Raises LabError where ``path`` exists or cannot be written."""
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666))
            log = cls(path)
            log._append(run.to_json())
            _sync_folder(path.parent)
        except OSError as error:
            raise LabError(f"{path}: cannot be written ({error.strerror})") from None
        return log

    def plan(self, run: Run) -> None:
        """Append a further line of the same run: what another of its boards sets out to measure."""
        self._append(run.to_json())

    def write(self, result: Result) -> None:
        """Append ``result``; it is on the disk when this returns. Raises LabError (disk full, say)."""
        self._append(result.to_json())

    def note(self, record: LeaseRecord | HealthRecord) -> None:
        """Append what was learned of a place."""
        self._append(to_line("lease" if isinstance(record, LeaseRecord) else "health", record))

    def close(self) -> None:
        """Close the file; nothing is pending."""
        os.close(self._fd)

    def __enter__(self) -> ResultLog:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _append(self, line: str) -> None:
        data = line.encode("ascii") + b"\n"
        fcntl.flock(self._fd, fcntl.LOCK_EX)
        try:
            size = os.fstat(self._fd).st_size
            if size and os.pread(self._fd, 1, size - 1) != b"\n":
                data = b"\n" + data
            try:
                written = os.write(self._fd, data)
                while written < len(data):  # the kernel took a part: nearly always a full disk
                    written += os.write(self._fd, data[written:])
                os.fsync(self._fd)
            except OSError as error:
                os.ftruncate(self._fd, size)
                raise LabError(f"{self.path}: the result could not be written ({error.strerror})") from None
        finally:
            fcntl.flock(self._fd, fcntl.LOCK_UN)


def read(path: Path) -> LogContents:
    """All whole records of the log at ``path``, and what was wrong with the rest.

    Raises ConfigError where the file cannot be read at all.
    """
    runs: dict[str, Run] = {}
    results: list[Result] = []
    leases: list[LeaseRecord] = []
    health: list[HealthRecord] = []
    problems: list[str] = []
    for line, where, complete in lines(path, problems):
        try:
            record = parse_line(line)
        except LineError as error:
            problems.append(unreadable(line, where, error, complete=complete))
            continue
        if isinstance(record, Result):
            results.append(record)
        elif isinstance(record, Run):
            known = runs.get(record.id)
            runs[record.id] = known.joined(record) if known else record
        elif isinstance(record, LeaseRecord):
            leases.append(record)
        elif isinstance(record, HealthRecord):
            health.append(record)
    return LogContents(tuple(runs.values()), tuple(results), tuple(problems), tuple(leases), tuple(health))


def unreadable(line: bytes, where: str, error: LineError, *, complete: bool) -> str:
    """What to say of a line that is no record; ``complete``: a newline ended it."""
    return f"{where}: {error if complete else f'cut off after {len(line)} bytes, the writer was killed'}"


def lines(path: Path, problems: list[str]) -> Iterator[tuple[bytes, str, bool]]:
    """Every line of the log that is not blank, its place, and whether a newline ended it.

    One that is too long is passed over and noted in ``problems``. Raises ConfigError where the file cannot
    be read at all.
    """
    try:
        for number, line, complete in _lines(path):
            where = f"{path}:{number}"
            if line is None:
                problems.append(f"{where}: longer than {MAX_LINE >> 20} MiB, passed over")
            else:
                yield line, where, complete
    except OSError as error:
        raise ConfigError(f"cannot be read ({error.strerror})", file=path) from None


def _lines(path: Path) -> Iterator[tuple[int, bytes | None, bool]]:
    """Number, bytes (None: too long) and whether a newline ended it, of every line that is not blank."""
    with path.open("rb", buffering=1 << 20) as file:
        number = 0
        while chunk := file.readline(MAX_LINE + 1):
            number += 1
            complete = chunk.endswith(b"\n")
            if len(chunk) > MAX_LINE and not complete:
                while (rest := file.readline(MAX_LINE)) and not rest.endswith(b"\n"):
                    pass
                yield number, None, True
            elif chunk.strip():
                yield number, chunk, complete


def _sync_folder(folder: Path) -> None:
    """Make the folder's new entry durable (fsync(2): a file's own fsync does not)."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
