"""Content-addressed folders: a step's result stands under the hash of everything that went into it.

A result is made in a folder of its own under ``tmp/`` and renamed into place when it is whole, so a
kill at any moment leaves at worst a folder in ``tmp/``, which the next build takes away. A lock per
result keeps two builds from making the same thing at once; locks are ``flock(2)``, which the kernel
gives back however their holder ends.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import re
import secrets
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import IO

from lab.base.errors import ConfigError, LabError

DONE = "step.json"
"""Written last into a result; says which step made it, from what, and how many seconds it took."""

LOOK_UP = 10.0
"""Seconds that whoever takes things away waits for those who use them: to find an image takes some
milliseconds, to build one takes longer than this."""


def digest(value: object) -> str:
    """A hex SHA-256 of plain data; the same for dicts in any order."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def digest_file(path: Path) -> str:
    """The hex SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def digest_tree(folder: Path) -> dict[str, str]:
    """Relative path -> kind, executable bit and hash (or link target) of everything below ``folder``.

    Editors' leftovers and Python's caches are not part of a tree.
    """
    found: dict[str, str] = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if "__pycache__" in path.parts or name.endswith(("~", ".swp", ".pyc")):
            continue
        if path.is_symlink():
            found[name] = f"link {os.readlink(path)}"  # noqa: PTH115 (Path.readlink normalises)
        elif path.is_file():
            executable = "x" if path.stat().st_mode & 0o100 else "-"
            found[name] = f"file {executable} {digest_file(path)}"
        elif path.is_dir():
            found[name] = "folder"
    return found


@dataclass(frozen=True)
class Result:
    """A finished step: its folder, and what ``step.json`` says."""

    path: Path
    seconds: float
    fresh: bool
    """Made by this call, not found."""


class Work:
    """A folder that is being filled, and the programs that fill it.

    The programs inherit the folder's lock: if this process dies, the folder counts as used until
    the last of them has ended too.
    """

    def __init__(self, path: Path, lock: IO[bytes], stop: Event) -> None:
        self.path = path
        self._lock = lock
        self._stop = stop

    def check(self) -> None:
        """Raise LabError when the build as a whole has failed meanwhile; call it in long loops."""
        if self._stop.is_set():
            raise LabError("the build was stopped")

    def run(
        self,
        argv: Sequence[str | Path],
        *,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
        what: str = "",
    ) -> str:
        """Run a program to its end and return its output (both streams).

        Raises LabError with the last lines of the output where it fails.
        """
        self.check()
        process = subprocess.run(
            [str(part) for part in argv],
            cwd=cwd,
            env=None if env is None else dict(env),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            pass_fds=(self._lock.fileno(),),
            text=True,
            errors="replace",
            check=False,
        )
        if process.returncode:
            check_space(process.stdout, self.path)
            said = " | ".join(_telling(process.stdout))
            raise LabError(f"{what or Path(argv[0]).name} failed ({process.returncode}): {said}")
        return process.stdout


def _telling(output: str) -> list[str]:
    """The lines of a failed program's output that say why: those marked as errors, else the last ones."""
    lines = output.strip().splitlines()
    return [line for line in lines if re.search(r": (fatal )?error: |^E: ", line)][:3] or lines[-4:]


def check_space(output: str, path: Path) -> None:
    """Raise ConfigError where the output of a failed program says that the disk is full."""
    if os.strerror(errno.ENOSPC) in output:
        raise no_space(path)


def no_space(path: Path, need: int | None = None) -> ConfigError:
    """The error for a full disk. ``need`` in bytes."""
    free = shutil.disk_usage(path).free
    wanted = f", {need / 1e9:.1f} GB needed" if need else ""
    return ConfigError(
        f"no space left for images in {path} ({free / 1e9:.1f} GB free{wanted})",
        hint="free some, run 'lab images gc', or set XDG_CACHE_HOME to a larger disk",
    )


class Cache:
    """The results of all steps below one folder."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.stop = Event()
        """Set when a build failed or was interrupted: other threads of it end soon."""
        for name in ("steps", "images", "debs", "tmp", "locks"):
            (root / name).mkdir(parents=True, exist_ok=True)

    def place(self, step: str, key: str) -> Path:
        """Where the result of ``step`` with ``key`` stands once it is made."""
        return self.root / "steps" / step / key[:24]

    def find(self, step: str, key: str) -> Result | None:
        """The result if it is there; marks it as used now."""
        return _read(self.place(step, key))

    def step(self, step: str, key: str, make: Callable[[Work], None], *, anew: bool = False) -> Result:
        """The result of ``step``, made by ``make(work)`` in ``work.path`` if it is not there yet.

        ``anew`` makes it again and replaces the old one. Raises what ``make`` raises; ConfigError
        where the disk is full.
        """
        return self.fill(self.place(step, key), step, make, anew=anew)

    def fill(self, place: Path, step: str, make: Callable[[Work], None], *, anew: bool = False) -> Result:
        """Like ``step``, for a folder of a given name."""
        if not anew and (found := _read(place)):
            return found
        asked = time.time()
        with self.lock(f"{step}-{place.name}"):
            found = _read(place)
            if found and (not anew or _made(place) > asked):  # another build made it meanwhile
                return found
            with self.work() as work:
                started = time.monotonic()
                try:
                    make(work)
                except OSError as error:
                    if error.errno == errno.ENOSPC:
                        raise no_space(self.root) from None
                    raise
                seconds = round(time.monotonic() - started, 2)
                about = {"step": step, "key": place.name, "seconds": seconds, "made": time.time()}
                (work.path / DONE).write_text(json.dumps(about) + "\n")
                place.parent.mkdir(parents=True, exist_ok=True)
                if place.exists():
                    place.rename(self.root / "tmp" / f"old-{secrets.token_hex(8)}")
                work.path.rename(place)
            return Result(place, seconds, fresh=True)

    @contextmanager
    def lock(self, name: str) -> Iterator[None]:
        """Hold the named lock among all processes and threads that use this cache."""
        with (self.root / "locks" / name).open("wb") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """While held, ``alone`` is not given: nothing that this build found is taken away under it."""
        with (self.root / "locks" / "use").open("wb") as file:
            fcntl.flock(file, fcntl.LOCK_SH)
            yield

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Held by who takes things away. Raises LabError where a build goes on for longer than a look-up."""
        deadline = time.monotonic() + LOOK_UP
        with (self.root / "locks" / "use").open("wb") as file:
            while True:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if time.monotonic() > deadline:
                        hint = "try again when it is done"
                        raise LabError("a build is using the image cache", hint=hint) from None
                    time.sleep(0.02)
            yield

    @contextmanager
    def work(self) -> Iterator[Work]:
        """An empty folder that vanishes in the end unless it was renamed into place."""
        name = secrets.token_hex(8)
        path = self.root / "tmp" / name
        lock_path = self.root / "tmp" / f"{name}.lock"
        with lock_path.open("wb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            path.mkdir()
            try:
                yield Work(path, lock, self.stop)
            finally:
                remove(path)
                lock_path.unlink(missing_ok=True)

    def sweep(self) -> None:
        """Take away what killed builds left in ``tmp/``."""
        for lock_path in (self.root / "tmp").glob("*.lock"):
            try:
                with lock_path.open("r+b") as lock:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    remove(lock_path.with_suffix(""))
                    lock_path.unlink(missing_ok=True)
            except (BlockingIOError, FileNotFoundError):
                continue
        for left in (self.root / "tmp").iterdir():
            locked = left.suffix == ".lock" or left.with_suffix(".lock").exists()
            if not locked and (left.name.startswith("old-") or left.stat().st_mtime < time.time() - 86400):
                remove(left)


def remove(path: Path) -> None:
    """Delete a tree of ours, also where packages made folders that are not writable."""
    shutil.rmtree(path, ignore_errors=True)
    if path.is_dir():
        for folder, _, _ in os.walk(path):
            Path(folder).chmod(0o700)
        shutil.rmtree(path, ignore_errors=True)


def _made(place: Path) -> float:
    return float(json.loads((place / DONE).read_text()).get("made", 0))


def _read(place: Path) -> Result | None:
    """The result at ``place``, its time of last use set to now."""
    try:
        about = json.loads((place / DONE).read_text())
        os.utime(place)
        return Result(place, float(about["seconds"]), fresh=False)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (ValueError, KeyError, PermissionError):
        return None  # not ours or cut short by a full disk: made again
