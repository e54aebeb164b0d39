"""The shared libraries of a program of one's own: those that go along with it, those that the image has."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from lab.imaging.own.elf import Elf, read_elf

THE_IMAGES = re.compile(
    r"(ld-linux-aarch64|lib(c|m|dl|rt|pthread|resolv|util|anl|nss_\w+|gcc_s|stdc\+\+|BrokenLocale))\.so[.\d]*"
)
"""Libraries of which a process has one for all: the image's, whose loader and whose Mesa want them."""

FOLDERS = ("usr/lib/aarch64-linux-gnu", "usr/lib")
"""Where the image's loader looks."""


@dataclass
class Closure:
    """What a program and its libraries need."""

    taken: dict[str, Path] = field(default_factory=dict)
    """Libraries of its own that go along."""
    lacking: set[str] = field(default_factory=set)
    """Those that are nowhere."""
    old: dict[str, str] = field(default_factory=dict)
    """Library -> the newest version of its symbols that is asked for and not there."""

    @property
    def whole(self) -> bool:
        """Whether it could be started."""
        return not (self.lacking or self.old)

    def __or__(self, other: Closure) -> Closure:
        return Closure(self.taken | other.taken, self.lacking | other.lacking, self.old | other.old)


class Libraries:
    """Libraries that came with a program, over those of the image's root file system."""

    def __init__(self, own: Mapping[str, Path], root: Path) -> None:
        self._own = {name: path for name, path in own.items() if not THE_IMAGES.fullmatch(name)}
        self._root = root
        self._read: dict[Path, Elf] = {}

    def elf(self, path: Path) -> Elf:
        """What is in a file. Raises ConfigError where it is damaged."""
        if path not in self._read:
            self._read[path] = read_elf(path)
        return self._read[path]

    def closure(self, program: Path) -> Closure:
        """What ``program`` needs, and what its own libraries need; the image's are whole."""
        found = Closure()
        todo = [program]
        while todo:
            elf = self.elf(todo.pop())
            for name in elf.needed:
                path = self._find(name)
                if path is None:
                    found.lacking.add(name)
                    continue
                has = self.elf(path).has
                if missing := [version for version in elf.wants.get(name, ()) if has and version not in has]:
                    found.old[name] = max([*missing, found.old.get(name, missing[0])], key=_number)
                if name in self._own and name not in found.taken:
                    found.taken[name] = path
                    todo.append(path)
        return found

    def _find(self, name: str) -> Path | None:
        if name in self._own:
            return self._own[name]
        return next((path for folder in FOLDERS if (path := self._root / folder / name).is_file()), None)


def _number(version: str) -> list[int]:
    return [int(part) for part in re.findall(r"\d+", version)]
