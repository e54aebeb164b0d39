"""The folder that a kernel was built in (``make O=BUILD``), taken as what its build would hand out.

Sources: Linux, scripts/Makefile.modinst (what modules_install copies, by ``modules.order``: names of ``.ko``,
since 6.2 of ``.o``), Makefile (``modules.builtin``, ``include/config/kernel.release``).
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Sequence
from fnmatch import fnmatch
from pathlib import Path

from lab.base.errors import ConfigError
from lab.imaging.cache import Work, digest, digest_file

IMAGE = Path("arch/arm64/boot/Image")
LISTS = ("modules.builtin", "modules.builtin.modinfo")


def build_folder(given: Path) -> Path | None:
    """The build folder that ``given`` is, or that the kernel's file ``given`` lies in; None for others."""
    for folder in (given, *list(given.absolute().parents)[3:4]):
        if (folder / ".config").is_file() and (folder / "arch/arm64/boot").is_dir():
            return folder
    return None


def release_of(headers: Path) -> str:
    """The release of the kernel that was built there. Raises ConfigError where none was."""
    for path in (headers / "include/config/kernel.release", headers / "include/generated/utsrelease.h"):
        if path.is_file():
            text = path.read_text(encoding="utf-8", errors="replace")
            found = re.search(r'"(\S+)"', text)
            return found[1] if found else text.strip()
    raise ConfigError(
        "is no folder that modules can be built against", file=headers, hint="give the kernel's build folder"
    )


def modules(folder: Path) -> dict[str, Path]:
    """Name below ``lib/modules/RELEASE`` -> file of each module. Raises ConfigError where one is missing."""
    listed = folder / "modules.order"
    if not listed.is_file():
        return {}
    found = {}
    for line in listed.read_text().split():
        name = Path(line.removeprefix("kernel/")).with_suffix(".ko")
        found[f"kernel/{name}"] = folder / name
        if not (folder / name).is_file():
            raise ConfigError(
                f"has no {name}, which its modules.order lists", file=folder, hint="make modules"
            )
    return found


def content(folder: Path) -> str:
    """A digest of its modules."""
    return digest({name: digest_file(path) for name, path in modules(folder).items()})


def install(work: Work, folder: Path, target: Path, drop: Sequence[str]) -> None:
    """Fill ``target`` with its modules as ``make modules_install`` would, less those that ``drop`` names."""
    place = target / "lib/modules" / release_of(folder)
    place.mkdir(parents=True)
    names = []
    for name, path in modules(folder).items():
        if any(fnmatch(str(part), pattern) for part in (Path(name), *Path(name).parents) for pattern in drop):
            continue
        work.check()
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, place / name)
        names.append(name)
    (place / "modules.order").write_text("".join(f"{name}\n" for name in names))
    for name in LISTS:
        if (folder / name).is_file():
            shutil.copyfile(folder / name, place / name)
