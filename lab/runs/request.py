"""What ``lab run`` was asked for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lab.base import dirs
from lab.base.errors import ConfigError
from lab.base.words import IommuMode

if TYPE_CHECKING:
    from lab.boards import Target
    from lab.imaging.own.given import Own

DEFAULT_TARGET = "virt-smmu"


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A run to do. ``iommu``: a ``MODE,...`` list, None for each target's own modes.

    ``snapshot``: whether virtual boards go on from saved boots; None: as LAB_SNAPSHOT says.
    ``switch``: change modes while a board runs, where that is enough.
    ``vmm``: ``KEY=VALUE`` pairs over each target's ``vmm:`` section.
    ``own``: what takes the place of parts of each target's image.
    ``results``: the folder that holds the folders of runs.

    On a lab's places: ``targets``, ``socs`` and ``places`` together say which boards. ``wait``: seconds
    that one may take to come free, None: any time. ``priority``: over others who wait. ``boards``: how
    many at the same time, 0: all that come free (a board of a rack of our own: one).
    """

    suites: tuple[Path, ...]
    targets: tuple[str, ...]
    results: Path
    iommu: str | None = None
    keyword: str | None = None
    command: str = ""
    snapshot: bool | None = None
    switch: bool = False
    vmm: tuple[str, ...] = ()
    own: Own | None = None
    id: str
    leased: bool = False
    socs: tuple[str, ...] = ()
    places: tuple[str, ...] = ()
    wait: float | None = None
    priority: float = 0.0
    boards: int = 0
    coordinator: str | None = None


def suites_folder() -> Path:
    """Where the suites of this checkout lie."""
    return dirs.root() / "suites"


def suite_names() -> list[str]:
    """The folders of ``suites/`` that hold tests."""
    return sorted(path.name for path in suites_folder().iterdir() if any(path.glob("test_*.py")))


def find_suites(names: list[str]) -> tuple[Path, ...]:
    """Folders or files of the suites called ``names``; every suite where none is named.

    A name is a folder of ``suites/``, or a path to a test file. Raises ConfigError that lists what is there.
    """
    known = suite_names()
    found = []
    for name in names or known:
        for path in (suites_folder() / name, Path(name)):
            if dirs.there(path):
                found.append(path.resolve())
                break
        else:
            raise ConfigError(f"unknown suite '{name}'", hint=f"known: {', '.join(known)}")
    return tuple(found)


def parse_modes(text: str | None, target: Target) -> list[IommuMode]:
    """The IOMMU modes of a ``MODE,...`` option, or the target's own. Raises ConfigError."""
    if not text:
        return list(target.default_modes)
    modes = []
    for word in text.split(","):
        try:
            modes.append(target.mode(IommuMode(word.strip())))
        except ValueError:
            known = ", ".join(IommuMode)
            raise ConfigError(f"'{word}' is not an IOMMU mode", hint=f"one of {known}") from None
    return list(dict.fromkeys(modes))
