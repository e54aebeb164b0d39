"""The root file system: unpacked packages made usable without maintainer scripts, then a squashfs."""

from __future__ import annotations

import importlib.util
import os
import shutil
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Literal

from lab.base import dirs, proc
from lab.base.errors import LabError
from lab.imaging import apt, toolchain
from lab.imaging.cache import Work
from lab.imaging.modules import Installed, decompress, modules_folder
from lab.imaging.recipe import ExtraRoot, Recipe

BYTECODE = """
import os, py_compile, sys
mode = py_compile.PycInvalidationMode.UNCHECKED_HASH
for name in sys.stdin.read().splitlines():
    shown = name.removeprefix(sys.argv[1])
    place = name + "c" if sys.argv[2] == "beside" else None
    py_compile.compile(name, place, dfile=shown, doraise=False, quiet=2, invalidation_mode=mode)
"""
"""For the toolchain's Python, which is as new as the board's. Arguments ROOT/ WHERE, files on standard input.

Unchecked: nothing on a read-only file system changes, and every look at a source file costs time.
"""


PREPARE = """
import sys
there = set(sys.modules)
import queue, struct, threading, weakref
from importlib import machinery
needed = [module for name, module in sys.modules.items() if name not in there]
import hashlib, marshal, os
early = {}
for module in needed:
    if isinstance(module.__spec__.loader, machinery.SourceFileLoader):
        place = os.path.relpath(module.__file__, os.path.dirname(os.__file__))
        code = compile(open(module.__file__, "rb").read(), place, "exec", dont_inherit=True)
        early[module.__name__] = place, hasattr(module, "__path__"), marshal.dumps(code)
found = {}
for name, path in zip(sys.argv[2::2], sys.argv[3::2]):
    source = open(path, encoding="utf-8").read()
    digest = hashlib.sha256(source.encode()).hexdigest()
    found[name] = digest, marshal.dumps(compile(source, name, "exec", dont_inherit=True))
first = open(sys.argv[3], encoding="utf-8").read()
with open(sys.argv[1], "wb") as file:
    marshal.dump((early, first, found.pop(sys.argv[2])[1], found), file)
"""
"""Arguments: FILE, then NAME SOURCE of each module. Each code is packed once more: few of them are used."""
PREPARED = "usr/lib/lab/prepared.bin"
"""Place, packageness and code of the modules of Python's own that every agent imports; source and code of
what execnet sends first; SHA-256 of the source, and code, of each module of the agent.

Compiling them takes an emulated board most of a second, and each look for another file waits for its disk.
Another source than that of here is sent to the board and compiled there, so an image never decides which
agent runs.
"""


def unpack(work: Work, recipe: Recipe, debs: Sequence[Path], release: str, tree: Callable[[], Path]) -> None:
    """Fill ``work.path/root`` from packages: less what the recipe drops, with byte code of all Python files.

    Modules lie uncompressed because the squashfs compresses them anyway, and because an emulated
    board takes longer to unpack xz than to load the module. ``tree`` gives the toolchain when it is needed.
    """
    root = work.path / "root"
    modules = [f"usr/lib/modules/{release}/{folder}" for folder in recipe.kernel.drop]
    apt.unpack(work, debs, root, [*recipe.drop, *modules])
    decompress(work, sorted(modules_folder(root, release).rglob("*.ko.xz")))
    for name in recipe.directories:
        (root / name).mkdir(parents=True, exist_ok=True)
    _applets(root, recipe.busybox)
    libraries = root.glob("usr/lib/python3*")
    bytecode(work, root, [file for library in libraries for file in sorted(library.rglob("*.py"))], tree())


def unpack_beside(work: Work, recipe: Recipe, extra: ExtraRoot, debs: Sequence[Path]) -> None:
    """Fill ``work.path/root/PREFIX`` with packages of another suite.

    Where libraries of that suite came along, programs are started by a script that puts those first.
    """
    prefix = work.path / "root" / extra.prefix
    prefix.parent.mkdir(parents=True)
    apt.unpack(work, debs, prefix, [*recipe.drop, *extra.drop])
    for name, points_to in extra.links.items():
        (prefix / name).symlink_to(points_to)
    libraries = f"usr/lib/{toolchain.LINKERS[recipe.architecture][1]}"
    if not any((prefix / libraries).glob("*.so*")):
        return
    for program in sorted((prefix / "usr/bin").iterdir()):
        if program.is_symlink() or not toolchain.is_program(program):
            continue
        moved = program.rename(program.with_name(f".{program.name}.elf"))
        inside = f"/{moved.relative_to(work.path / 'root')}"
        program.write_text(f'#!/bin/sh\nLD_LIBRARY_PATH=/{extra.prefix}/{libraries} exec {inside} "$@"\n')
        program.chmod(0o755)


def _applets(root: Path, names: Iterable[str]) -> None:
    """Link busybox applets where no package has the command."""
    for name in names:
        if not any((root / "usr" / folder / name).exists() for folder in ("bin", "sbin")):
            (root / "usr/bin" / name).symlink_to("busybox")


def bytecode(
    work: Work, root: Path, files: Sequence[Path], tree: Path, *, where: Literal["cache", "beside"] = "cache"
) -> None:
    """Compile the board's Python files: its root is read-only, so it could never keep what it compiles.

    Modules' code goes where Python looks for it; a program's goes beside it (``NAME.pyc``), to be started.
    """
    processes = min(os.cpu_count() or 1, len(files)) or 1
    files = [file for file in files if not file.is_symlink()]
    script = 'exec "$1" -I -S -c "$2" "$3/" "$4" < "$5"'

    def one(part: int) -> None:
        listed = work.path / f"python-{part}"
        listed.write_text("\n".join(str(file) for file in files[part::processes]))
        argv: list[str | Path] = ["sh", "-c", script, "sh", tree / "usr/bin/python3"]
        argv += [BYTECODE, root, where, listed]
        work.run(argv, env=toolchain.environment(tree), what="compiling Python files")
        listed.unlink()

    with ThreadPoolExecutor(processes) as pool:
        for _ in pool.map(one, range(processes)):
            pass


def squashfs(
    work: Work,
    recipe: Recipe,
    *,
    root: Path,
    beside: Sequence[Path],
    overlay: Path,
    kernels: Sequence[Installed],
    tree: Path,
) -> None:
    """Make ``work.path/squashfs``: the unpacked packages, those beside them, the overlay over them, modules.

    Kernels and their initramfs are in its ``/boot``: a board starts its guest from the image it runs itself.
    """
    copy = work.path / "root"
    work.run(["cp", "-al", root, copy], what="copying the root file system")
    for extra in beside:
        work.run(["cp", "-al", f"{extra}/.", copy], what="copying the root file system")
    for source in sorted(overlay.rglob("*")):
        _lay(source, copy / source.relative_to(overlay))
    for one in kernels:
        _install(work, copy, one, tree)
    prepare: list[str | Path] = [tree / "usr/bin/python3", "-I", "-S", "-c", PREPARE, copy / PREPARED]
    prepare += [word for pair in prepared_sources().items() for word in pair]
    work.run(prepare, env=toolchain.environment(tree), what="compiling what runs at the far end")
    programs = [copy / path.relative_to(overlay) for path in overlay.rglob("*.py")]
    bytecode(work, copy, programs, tree, where="beside")
    compression = ["-comp", recipe.compression]
    if recipe.compression == "none":
        compression = ["-noI", "-noD", "-noF", "-noX"]
    argv: list[str | Path] = [proc.require("mksquashfs"), copy, work.path / "squashfs", "-all-root"]
    argv += ["-noappend", "-no-progress", "-no-xattrs", *compression]
    if recipe.uncompressed:
        which = " || ".join(f"subpathname({pattern})" for pattern in recipe.uncompressed)
        argv += ["-action", f"uncompressed@{which}"]
    work.run(argv, env={**os.environ, "SOURCE_DATE_EPOCH": "0"}, what="mksquashfs")
    shutil.rmtree(copy, ignore_errors=True)


def _install(work: Work, root: Path, one: Installed, tree: Path) -> None:
    """Put a kernel's modules, their index, its initramfs and a plain name for it into the image."""
    updates = modules_folder(root, one.release) / "updates"
    updates.mkdir()
    for module in (file for folder in one.built for file in sorted(folder.glob("*.ko"))):
        shutil.copyfile(module, updates / module.name)
    for name in ("vmlinuz", "initrd"):
        (root / f"boot/{name}{one.suffix}").unlink(missing_ok=True)
    (root / f"boot/vmlinuz{one.suffix}").symlink_to(f"vmlinuz-{one.release}")
    shutil.copyfile(one.initrd, root / f"boot/initrd{one.suffix}")
    depmod: list[str | Path] = [tree / "usr/sbin/depmod", "-b", root, one.release]
    work.run(depmod, env=toolchain.environment(tree), what="depmod")


def prepared_sources() -> dict[str, Path]:
    """Name -> file of what is sent to boards: execnet's far end, then the agent. LabError without execnet."""
    spec = importlib.util.find_spec("execnet")
    if spec is None or not spec.submodule_search_locations:
        raise LabError("execnet is missing", hint="install the project: ./bootstrap.sh")
    agent = sorted(path for path in (dirs.root() / "lab/agent").glob("*.py") if path.name != "__init__.py")
    return {
        "execnet/gateway_base.py": Path(spec.submodule_search_locations[0]) / "gateway_base.py",
        **{f"lab/agent/{path.name}": path for path in agent},
    }


def _lay(source: Path, target: Path) -> None:
    """Put one file, link or folder of the overlay in place of a target that may be linked to the cache."""
    if source.is_dir() and not source.is_symlink():
        target.mkdir(parents=True, exist_ok=True)
        return
    if "__pycache__" in source.parts or source.name.endswith(("~", ".swp", ".pyc")):
        return
    target.unlink(missing_ok=True)
    shutil.copy2(source, target, follow_symlinks=False)
    if not target.is_symlink():
        target.chmod(0o755 if source.stat().st_mode & 0o100 else 0o644)
        os.utime(target, (0, 0))
