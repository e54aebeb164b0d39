"""Snapshots of running boards: files in the user's cache, each under the hash of all that went into it.

::

    ~/.cache/sharelab/snapshots/
      KEY/state           QEMU's migration stream: RAM and devices
      KEY/about.json      its SHA-256, which machine it is of, and what the one who saved it said about it
      .part-XXXX/         one that is being written, locked (flock) by who writes it

A snapshot is renamed into place when it is whole, so a kill at any moment leaves a ``.part-`` folder
at worst, which the next save takes away. QEMU would take a flipped bit in saved RAM as it is: so the
hash of the stream is checked while QEMU loads it, and the board does not run a single instruction before
it was found right. Standard library only: the supervisor imports this.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from lab.base import dirs
from lab.base.proc import require
from lab.rack.command import arguments
from lab.rack.layout import BoardPlan

VERSION = 1
"""To be raised when snapshots are made or used in another way than before: older ones then count as none."""

SPACE = 12 << 30
"""Bytes that all snapshots together may take; beyond it the ones that were not used for longest go."""

CHUNK = 1 << 20
KEY = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Snapshot:
    """A whole snapshot. ``about`` is what its maker said of the board; ``used``: seconds since the epoch."""

    path: Path
    size: int
    used: float
    sha256: str
    machine: dict[str, Any]
    about: dict[str, Any]

    @property
    def key(self) -> str:
        """The name of its folder."""
        return self.path.name

    def feed(self, pipe: int) -> bool:
        """Write the saved state into ``pipe`` and close it; whether it is as it was saved.

        A reader that stops reading is no error: QEMU's own end tells more.
        """
        digest = hashlib.sha256()
        reading = True
        try:
            with (self.path / "state").open("rb", buffering=0) as file:
                while data := file.read(CHUNK):
                    digest.update(data)
                    try:
                        rest = memoryview(data)
                        while reading and rest:
                            rest = rest[os.write(pipe, rest) :]
                    except BrokenPipeError:
                        reading = False
        except OSError:
            return False
        finally:
            os.close(pipe)
        return digest.hexdigest() == self.sha256


class Part:
    """A snapshot that is being written, in a locked folder of its own."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.fifo = path / "stream"
        """QEMU's stream goes in here, for `receive`."""
        os.mkfifo(self.fifo)
        self._sha256 = ""
        # With a writer of our own a reader is not kept waiting for one that never comes.
        self._reader = os.open(self.fifo, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        os.set_blocking(self._reader, True)
        self._writer = os.open(self.fifo, os.O_WRONLY | os.O_CLOEXEC)
        with contextlib.suppress(OSError):
            fcntl.fcntl(self._writer, fcntl.F_SETPIPE_SZ, CHUNK)

    def receive(self) -> None:
        """Read the stream to its end, which comes after `ended`. Raises OSError where the disk is full."""
        digest = hashlib.sha256()
        with (
            open(self._reader, "rb", buffering=0, closefd=False) as stream,
            (self.path / "state").open("xb", buffering=0) as file,
        ):
            while data := stream.read(CHUNK):
                digest.update(data)
                rest = memoryview(data)
                while rest:
                    rest = rest[file.write(rest) :]
        self._sha256 = digest.hexdigest()

    def ended(self) -> None:
        """No other writer will open the FIFO: `receive` ends when the last one has closed it."""
        writer, self._writer = self._writer, -1
        if writer >= 0:
            os.close(writer)

    def describe(self, machine: dict[str, Any], about: dict[str, Any]) -> None:
        """Write down what was received."""
        self.fifo.unlink()
        text = json.dumps({"sha256": self._sha256, "machine": machine, "about": about}, indent=1)
        (self.path / "about.json").write_text(text + "\n")

    def close(self) -> None:
        """Let go of the FIFO."""
        self.ended()
        os.close(self._reader)


class Store:
    """All snapshots of a user."""

    def __init__(self, root: Path, *, space: int = SPACE) -> None:
        self.root = root
        self._space = space

    @classmethod
    def of_user(cls) -> Self:
        """The one in the user's cache."""
        return cls(dirs.cache() / "snapshots")

    def find(self, key: str) -> Snapshot | None:
        """The snapshot called ``key``, marked as used now."""
        found = _read(self.root / key)
        if found is not None:
            with contextlib.suppress(OSError):
                os.utime(found.path)
        return found

    def all(self) -> list[Snapshot]:
        """Every snapshot, the one used last first."""
        folders = self.root.iterdir() if self.root.is_dir() else iter(())
        found = [snapshot for folder in folders if (snapshot := _read(folder))]
        return sorted(found, key=lambda snapshot: snapshot.used, reverse=True)

    def remove(self, key: str) -> None:
        """Take a snapshot away; nothing where there is none. One that is just being loaded stays usable."""
        with self._alone():
            self._remove(self.root / key)

    def clear(self) -> list[Snapshot]:
        """Take all away, also what killed writers left; what there was."""
        found = self.all()
        with self._alone():
            self._sweep()
            for snapshot in found:
                self._remove(snapshot.path)
        return found

    @contextlib.contextmanager
    def part(self) -> Iterator[Part]:
        """A folder to write a snapshot to; gone in the end unless `keep` was called."""
        with self._alone():
            self._sweep()
            path = Path(tempfile.mkdtemp(prefix=".part-", dir=self.root))
            lock = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            fcntl.flock(lock, fcntl.LOCK_EX)
        part = Part(path)
        try:
            yield part
        finally:
            part.close()
            os.close(lock)
            shutil.rmtree(path, ignore_errors=True)

    def keep(self, part: Part, key: str) -> None:
        """Put a whole ``part`` into place, then make room: the ones not used for longest go first."""
        with self._alone():
            self._remove(self.root / key)
            part.path.rename(self.root / key)
            taken = 0
            for snapshot in self.all():
                taken += snapshot.size
                if taken > self._space and snapshot.key != key:
                    self._remove(snapshot.path)

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """No two processes rename, remove or begin at once."""
        self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = os.open(self.root, os.O_RDONLY | os.O_CLOEXEC)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
        finally:
            os.close(lock)

    def _remove(self, path: Path) -> None:
        """First under another name, so that nobody finds half a snapshot."""
        gone = Path(tempfile.mkdtemp(prefix=".part-", dir=self.root))
        with contextlib.suppress(FileNotFoundError):
            path.rename(gone / "old")
        shutil.rmtree(gone, ignore_errors=True)

    def _sweep(self) -> None:
        for path in self.root.glob(".part-*"):
            try:
                lock = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            except FileNotFoundError:
                continue  # its writer has just taken it away
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(path, ignore_errors=True)
            except BlockingIOError:
                pass
            finally:
                os.close(lock)


def _read(path: Path) -> Snapshot | None:
    try:
        said = json.loads((path / "about.json").read_bytes())
        size = (path / "state").stat().st_size
        used = path.stat().st_mtime
        return Snapshot(path, size, used, said["sha256"], said["machine"], said["about"])
    except (OSError, ValueError, KeyError, TypeError):
        return None  # none, or not ours


def machine_facts(plan: BoardPlan) -> dict[str, Any]:
    """All of the machine that a snapshot depends on: QEMU, its command line without a rack's ports and paths.

    Raises ConfigError where QEMU is missing, OSError where a file of the board cannot be read.
    """
    program = Path(require("qemu-system-aarch64")).resolve()
    neutral = BoardPlan(**{**vars(plan), "name": "", "serial_port": 0, "ssh_port": 0})
    return {
        "version": VERSION,
        "host": os.uname().machine,
        "program": [str(program), *_stamp(program)],
        "arguments": arguments(neutral, tftp=Path("tftp"), console=0, qmp=0),
        "uboot": hashlib.sha256(Path(plan.uboot).read_bytes()).hexdigest(),
        "squashfs": _stamp(Path(plan.squashfs)) if plan.disk else [],
    }


def full_key(key: str, machine: dict[str, Any]) -> str:
    """The name of a snapshot: ``key`` stands for the software on the board, ``machine`` for the board."""
    return hashlib.sha256(json.dumps([key, machine], sort_keys=True).encode()).hexdigest()


def _stamp(path: Path) -> list[int]:
    """What changes whenever a file that is too large to be read each time does."""
    status = path.stat()
    return [status.st_size, status.st_mtime_ns]
