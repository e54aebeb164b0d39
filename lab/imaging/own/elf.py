"""What a program or library needs to be started: read from its ELF file, nothing is run."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from elftools.common.exceptions import ELFError
from elftools.elf.dynamic import DynamicSection
from elftools.elf.elffile import ELFFile
from elftools.elf.gnuversions import GNUVerDefSection, GNUVerNeedSection
from elftools.elf.segments import InterpSegment

from lab.base.errors import ConfigError


@dataclass(frozen=True)
class Elf:
    """A dynamically linked file. ``loader``: what starts it, empty for a library or a static program."""

    loader: str
    needed: tuple[str, ...]
    """Names of the libraries that it is linked with (DT_NEEDED)."""
    wants: dict[str, tuple[str, ...]]
    """Library -> the versions of its symbols that are used, ``GLIBC_2.38``."""
    has: frozenset[str]
    """The versions of symbols that it defines itself; empty where it has none."""
    debug: bool
    """Whether it carries debug data."""


def read_elf(path: Path) -> Elf:
    """Raises ConfigError for what is no whole ELF file."""
    try:
        with path.open("rb") as file:
            return _read(ELFFile(file))
    except (ELFError, OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"is a damaged program ({error or 'cut short'})", file=path) from None


def _read(elf: Any) -> Elf:
    needed: list[str] = []
    wants: dict[str, tuple[str, ...]] = {}
    has: set[str] = set()
    for section in elf.iter_sections():
        if isinstance(section, DynamicSection):
            tags: Iterable[Any] = section.iter_tags("DT_NEEDED")
            needed += [tag.needed for tag in tags]
        elif isinstance(section, GNUVerNeedSection):
            for library, versions in section.iter_versions():
                wants[str(library.name)] = tuple(str(version.name) for version in versions)
        elif isinstance(section, GNUVerDefSection):
            has |= {str(next(iter(names)).name) for _, names in section.iter_versions()}
    loaders = [one.get_interp_name() for one in elf.iter_segments() if isinstance(one, InterpSegment)]
    debug = elf.get_section_by_name(".debug_info") is not None
    return Elf("".join(loaders), tuple(needed), wants, frozenset(has), debug)
