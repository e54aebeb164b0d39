"""A VMM of one's own: its program with all that it needs, gathered from what a build or a package has.

On the board it has a folder of its own (`given.VMM_FOLDER`), in one layout whatever it came in: ``bin``,
``lib`` (libraries that the image lacks, or has otherwise), ``modules`` and ``share`` (QEMU's), and a script
of the program's name that starts it with them.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from lab.base.errors import ConfigError
from lab.imaging import toolchain
from lab.imaging.cache import Work, digest, digest_file
from lab.imaging.own import unpack
from lab.imaging.own.given import VMM_FOLDER
from lab.imaging.own.kernelfile import machine
from lab.imaging.own.libraries import Closure, Libraries

PROGRAMS = {"qemu": "qemu-system-aarch64", "crosvm": "crosvm"}

SAYS = {"qemu": re.compile(rb"QEMU emulator version (\d[\w.-]*)"), "crosvm": re.compile(rb"()crosvm")}
"""What tells the program from others: of QEMU its answer to ``--version`` (system/vl.c), with the version."""

START = {
    "qemu": """#!/bin/sh
export LD_LIBRARY_PATH={0}/lib QEMU_MODULE_DIR={0}/modules
exec {0}/bin/qemu-system-aarch64 -L {0}/share "$@"
""",
    "crosvm": """#!/bin/sh
LD_LIBRARY_PATH={0}/lib exec {0}/bin/crosvm "$@"
""",
}
"""Starts it from where it was not built for."""

ELSE = {"qemu": "no QEMU that emulates a machine", "crosvm": "no crosvm"}
"""What a program is that does not say so."""

MODULE = re.compile(r"(accel|audio|block|chardev|hw|tools|ui)-[\w-]+\.so")
"""QEMU's modules; what is one and what is in the program is a matter of ``configure --enable-modules``."""

BASIC = ("hw-display-virtio-gpu", "hw-display-virtio-gpu-pci")
"""Modules that every guest needs. Those for OpenGL only virgl needs: QEMU says it where they lack."""

DATA = re.compile(r"/share/qemu/((?:efi-virtio\.rom|edk2-aarch64-|edk2-arm-vars|keymaps/).*)")
"""Of QEMU's data what a guest of arm64 can want: the rest is 300 MB for other machines."""

LIBRARY = re.compile(r"lib.+\.so[.\w]*")

LOADERS = ("", "/lib/ld-linux-aarch64.so.1")
"""What starts a program on the board; nothing where it is linked statically."""


@dataclass
class Found:
    """What of a VMM lies where it was given: files, by the name that each gets on the board."""

    kind: str
    given: Path
    """For messages."""
    programs: list[Path] = field(default_factory=list)
    modules: dict[str, Path] = field(default_factory=dict)
    libraries: dict[str, Path] = field(default_factory=dict)
    data: dict[str, Path] = field(default_factory=dict)
    others: set[str] = field(default_factory=set)
    """Programs for other machines."""

    def take(self, path: Path) -> bool:
        """Note a file that may be part of it; False for others."""
        name = path.name
        if name == PROGRAMS[self.kind]:
            self.programs.append(path)
        elif self.kind == "qemu" and MODULE.fullmatch(name):
            self.modules.setdefault(name, path)
        elif LIBRARY.fullmatch(name):
            self.libraries.setdefault(name, path)
        elif data := DATA.search(path.as_posix()):
            self.data.setdefault(data[1], path)
        else:
            if name.startswith("qemu-system-") and path.parent.name == "bin":
                self.others.add(name)
            return False
        return True

    @property
    def program(self) -> Path:
        """That of an installation before others. Raises ConfigError where there is none."""
        if not self.programs:
            hint = f"it has {', '.join(sorted(self.others))}" if self.others else f"--vmm {self.kind}="
            raise ConfigError(f"has no {PROGRAMS[self.kind]}", file=self.given, hint=hint)
        return min(self.programs, key=lambda path: (path.parent.name != "bin", len(path.parts)))

    def error(self, message: str, hint: str) -> ConfigError:
        """About what was given."""
        return ConfigError(message, file=self.given, hint=hint)


def find(kind: str, given: Path, places: Sequence[Path]) -> Found:
    """What of a VMM is in ``places``: folders, or its program. ``given``: what to name in messages.

    Raises ConfigError where there is none, or one for another machine.
    """
    found = Found(kind, given)
    for place in places:
        if place.is_file():
            found.programs.append(place)
        for path in _files(place):
            found.take(path)
    _check(found, found.program.read_bytes())
    return found


def _check(found: Found, data: bytes) -> None:
    program = PROGRAMS[found.kind]
    if data[:2] == b"#!":
        raise found.error("is a script", f"give the folder with {program} itself")
    if (name := machine(data)) != "arm64":
        raise found.error(
            f"is {f'a program for {name}' if name else 'no program'}", f"give {program} for arm64"
        )
    if not SAYS[found.kind].search(data):
        raise found.error(f"is {ELSE[found.kind]}", f"give {program}")


def _files(folder: Path) -> Iterator[Path]:
    """Files below a folder, in a fixed order; links to files that are not there are none."""
    for top, folders, names in os.walk(folder):
        folders.sort()
        yield from (path for name in sorted(names) if (path := Path(top, name)).is_file())


def content(kind: str, given: Path) -> str:
    """A digest of what of ``given`` may become part of it. Raises ConfigError where it cannot be read."""
    try:
        if given.is_file():
            return digest_file(given)
        found = Found(kind, given)
        files = [path for path in _files(given) if found.take(path)]
        return digest({str(path.relative_to(given)): digest_file(path) for path in files})
    except OSError as error:
        raise found.error(f"cannot be read ({error.strerror})", f"--vmm {kind}=") from None


def make(work: Work, kind: str, given: Sequence[Path], root: Path, tools: Path) -> None:
    """Fill ``work.path`` with ``vmm``, the folder for the board, and ``version``, as the program has it.

    ``root``: the image's root file system. Raises ConfigError, in one line, for what cannot run there.
    """
    places = list(given)
    for number, path in enumerate(given):
        if unpack.is_package(path):
            places[number] = work.path / "unpacked" / str(number)
            places[number].parent.mkdir(exist_ok=True)
            unpack.unpack(work, path, places[number], (), unwanted=())
    found = find(kind, given[0], places)
    libraries = Libraries(found.libraries, root)
    parts = {
        "bin": {PROGRAMS[kind]: found.program},
        "lib": _resolve(found, libraries),
        "modules": found.modules,
        "share": found.data,
    }
    target = work.path / "vmm"
    for folder, files in parts.items():
        for name, path in files.items():
            copy = target / folder / name
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, copy)
            if folder != "share":
                copy.chmod(0o755)
                if libraries.elf(path).debug:
                    _strip(work, copy, tools)
    script = target / PROGRAMS[kind]
    script.write_text(START[kind].format(VMM_FOLDER))
    script.chmod(0o755)
    said = SAYS[kind].search(found.program.read_bytes())
    (work.path / "version").write_bytes(said[1] if said else b"")
    shutil.rmtree(work.path / "unpacked", ignore_errors=True)


def _strip(work: Work, file: Path, tools: Path) -> None:
    program = tools / "usr/bin" / f"{toolchain.PREFIX}strip"
    work.run([program, "--strip-debug", file], env=toolchain.environment(tools), what="strip")


def _resolve(found: Found, libraries: Libraries) -> dict[str, Path]:
    """The libraries that go along; ``found`` keeps the modules that can be loaded. Raises ConfigError."""
    if (loader := libraries.elf(found.program).loader) not in LOADERS:
        raise found.error(
            f"is started by {loader}, which the image has not", "link it statically, or build it for Debian"
        )
    data = found.program.read_bytes()
    basic = [name for name in BASIC if b"\0" + name.encode() + b"\0" in data]
    if lacking := [name for name in basic if f"{name}.so" not in found.modules]:
        raise found.error(
            f"has {' and '.join(lacking)} as modules, which are not there",
            f"give the folder or package that has them, too: another --vmm {found.kind}=",
        )
    needs = libraries.closure(found.program)
    for name, path in list(found.modules.items()):
        own = libraries.closure(path)
        if own.whole or name.removesuffix(".so") in basic:
            needs |= own
        else:
            del found.modules[name]  # QEMU does without
    _check_libraries(found, needs)
    return needs.taken


def _check_libraries(found: Found, needs: Closure) -> None:
    if needs.lacking:
        raise found.error(
            f"needs {', '.join(sorted(needs.lacking))}, which the image has not",
            f"give the folder or packages that have them, too: another --vmm {found.kind}=",
        )
    if needs.old:
        wanted = ", ".join(f"{version} of {name}" for name, version in sorted(needs.old.items()))
        raise found.error(f"needs {wanted}, newer than the image's", "build it for the image's Debian")
