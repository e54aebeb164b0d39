"""U-Boot as Debian builds it for real boards: its environment, its words."""

from __future__ import annotations

import re
import shutil
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from lab.base.errors import ConfigError
from lab.imaging.builder import image_cache
from lab.imaging.cache import Work, digest
from lab.imaging.resolve import code
from lab.imaging.single import unpack_package

FOLDER = "usr/lib/u-boot"
FILE = "u-boot.bin"


@dataclass(frozen=True)
class UbootFile:
    """One board's U-Boot. ``name``: the folder that its package has for it."""

    name: str
    path: Path

    @cached_property
    def environment(self) -> dict[str, str]:
        """The variables that it begins with."""
        found = re.findall(rb"(?<=\0)([A-Za-z_][A-Za-z0-9_]*)=([^\0]*)(?=\0)", self._content)
        return {name.decode(): value.decode(errors="replace") for name, value in found}

    def says(self, text: str, *, end: bool = False) -> bool:
        """Whether ``text`` stands in it; ``end``: as the end of a string, as a command's name does."""
        return text.encode() + (b"\0" if end else b"") in self._content

    def address(self, expression: str) -> int | None:
        """The number that ``${name}`` or ``0x...`` comes to at its prompt; None for a name that it lacks."""
        name = re.fullmatch(r"\$\{(\w+)\}", expression)
        text = self.environment.get(name[1], "") if name else expression
        try:
            return int(text, 16)  # its numbers are hexadecimal, with 0x or without
        except ValueError:
            return None

    @cached_property
    def _content(self) -> bytes:
        return self.path.read_bytes()


def uboot(package: str, board: str, *, suite: str = "trixie", use_mirror: str | None = None) -> UbootFile:
    """The U-Boot for ``board`` out of a Debian package, from the cache or from the mirror.

    Raises ConfigError, which names those that the package has, where it has none for the board or there is
    no such package; LabError where the mirror does not answer.
    """
    cache = image_cache()
    key = digest([package, suite, code("apt", "firmware", "single")])

    def make(work: Work) -> None:
        root = unpack_package(work, cache, package, suite, use_mirror=use_mirror)
        for file in (root / FOLDER).glob(f"*/{FILE}"):
            target = work.path / "boards" / file.parent.name
            target.mkdir(parents=True)
            file.rename(target / FILE)
        shutil.rmtree(root)

    with cache.in_use():
        boards = cache.step("u-boot", key, make).path / "boards"
        path = boards / board / FILE
        if not path.is_file():
            names = ", ".join(sorted(folder.name for folder in boards.glob("*")))
            raise ConfigError(f"{package} has no U-Boot for '{board}'", hint=f"it has {names or 'none'}")
        return UbootFile(board, path)
