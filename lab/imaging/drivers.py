"""The archive of drivers for boards whose root file system comes over the network.

It follows the initramfs, which loads of it what the devices of the board ask for (images/initramfs/netroot).
"""

from __future__ import annotations

import gzip
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from lab.base.errors import ConfigError
from lab.imaging import cpio
from lab.imaging.modules import needs, plain_name


def build(
    folder: Path,
    release: str,
    wanted: Sequence[str],
    *,
    read: Callable[[Path], bytes] = Path.read_bytes,
    complete: bool = True,
) -> bytes:
    """The modules ``wanted`` (files, or folders of them) and what they depend on, as a compressed archive.

    ``folder`` has the modules of the kernel ``release``; ``read`` gives the plain content of one. With them
    go ``modules.dep`` and ``modules.alias``, as busybox's modprobe reads them. Raises ConfigError where the
    kernel has nothing of a name; not where it need not be ``complete``, for somebody's own has some built in.
    """
    files = {plain_name(path.name): path for path in folder.rglob("*.ko*")}
    todo = [plain_name(path.name) for path in _named(folder, wanted, release, complete)]
    found: dict[str, bytes] = {}
    while todo:
        name = todo.pop()
        if name not in found and name in files:  # what is built in has no file
            found[name] = read(files[name])
            todo += map(plain_name, needs(found[name]))
    modules = dict(sorted(found.items()))
    place = f"lib/modules/{release}"
    depends = "".join(
        f"{name}.ko:{''.join(f' {n}.ko' for n in _all_needs(name, modules))}\n" for name in modules
    )
    aliases = "".join(f"alias {alias} {name}\n" for name, data in modules.items() for alias in _aliases(data))
    return gzip.compress(
        cpio.archive(
            {
                f"{place}/modules.dep": (depends.encode(), 0o644),
                f"{place}/modules.alias": (aliases.encode(), 0o644),
                **{f"{place}/{name}.ko": (data, 0o644) for name, data in modules.items()},
            }
        ),
        compresslevel=6,  # 9 takes ten times as long, for a hundredth of the size
        mtime=0,
    )


def _named(folder: Path, wanted: Sequence[str], release: str, complete: bool) -> Iterator[Path]:
    for name in wanted:
        path = folder / name
        paths = sorted(path.parent.glob(f"{path.name}*") if path.suffix == ".ko" else path.rglob("*.ko*"))
        if complete and not paths:
            raise ConfigError(
                f"kernel {release} has no modules in '{name}'", hint="see kernel.drivers in the recipe"
            )
        yield from paths


def _all_needs(name: str, modules: dict[str, bytes]) -> list[str]:
    """What ``name`` depends on, as modules.dep has it: directly or not, what is loaded first comes last."""
    found: list[str] = []
    todo = needs(modules[name])
    while todo:
        one = plain_name(todo.pop(0))
        if one in modules:
            if one in found:
                found.remove(one)
            found.append(one)
            todo += needs(modules[one])
    return found


def _aliases(module: bytes) -> Iterator[str]:
    """Source: ``alias=`` in its section .modinfo, written by Linux's scripts/mod/file2alias.c."""
    # Not split(b"\0"): most of a module is zeros, which takes seconds for a kernel's modules.
    return (found.decode() for found in re.findall(rb"\0alias=([^\0]*)", module))
