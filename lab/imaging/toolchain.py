"""The suite's own compiler and tools on the build host, run without root, chroot or namespaces.

The packages are unpacked into a folder. Every program in it is replaced by a small script that starts
the program through the tree's own dynamic linker with the tree's own libraries, so neither the host's
C library nor its settings for user namespaces matter. The scripts find the tree by the environment
variable LAB_TREE, hence the folder may be moved. Shell and coreutils are the host's.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Mapping
from pathlib import Path

from lab.base import proc
from lab.base.errors import ConfigError
from lab.imaging.cache import Work

LINKERS = {
    "amd64": ("lib64/ld-linux-x86-64.so.2", "x86_64-linux-gnu"),
    "arm64": ("lib/ld-linux-aarch64.so.1", "aarch64-linux-gnu"),
}
"""Host architecture -> dynamic linker in the tree, name of the library folder."""

PREFIX = "aarch64-linux-gnu-"
"""Debian installs the compiler under this prefix, native or cross."""

DROP = (
    "usr/share/doc",
    "usr/share/man",
    "usr/share/info",
    "usr/share/locale",
    "usr/share/bash-completion",
    "usr/lib/*/gconv",
    "usr/libexec/gcc-cross/*/lto1",
    "usr/libexec/gcc/*/lto1",
    "usr/aarch64-linux-gnu/lib",
)

WRAPPER = """#!/bin/sh
exec "$LAB_TREE/{linker}" --library-path "$LAB_TREE/usr/lib/{triplet}:$LAB_TREE/usr/lib" \\
    --argv0 "$0" "$LAB_TREE/{program}" "$@"
"""


def host_architecture() -> str:
    """Debian's name of the build host's architecture. Raises ConfigError where no tools exist for it."""
    argv = [proc.require("dpkg"), "--print-architecture"]
    name = subprocess.run(argv, capture_output=True, text=True, check=True).stdout.strip()
    if name not in LINKERS:
        raise ConfigError(f"images cannot be built on {name}", hint=f"build hosts: {', '.join(LINKERS)}")
    return name


def packages(host: str, compiler: str) -> list[str]:
    """The host's packages: compiler, make, depmod, and a Python as new as the board's for its byte code."""
    cross = compiler if host == "arm64" else f"{compiler}-aarch64-linux-gnu"
    return [cross, "make", "kmod", "python3-minimal", "libpython3-stdlib"]


def wrap(tree: Path, host: str) -> None:
    """Put a script in the place of every dynamically linked program of the tree."""
    linker, triplet = LINKERS[host]
    for path in sorted(tree.rglob("*")):
        if path.is_symlink() or not path.is_file() or not is_program(path):
            continue
        program = path.with_name(f".{path.name}.elf")
        path.rename(program)
        name = program.relative_to(tree)
        path.write_text(WRAPPER.format(linker=linker, triplet=triplet, program=name))
        path.chmod(0o755)


def is_program(path: Path) -> bool:
    """Whether ``path`` is a 64-bit ELF program that asks for a dynamic linker (segment PT_INTERP, elf(5))."""
    if ".so" in path.name:  # the C library can be started too
        return False
    with path.open("rb") as file:
        head = file.read(64)
        if len(head) < 64 or head[:5] != b"\x7fELF\x02" or head[5] != 1:
            return False
        offset = int.from_bytes(head[32:40], "little")
        size = int.from_bytes(head[54:56], "little")
        count = int.from_bytes(head[56:58], "little")
        file.seek(offset)
        table = file.read(size * count)
    pt_interp = 3
    starts = (size * index for index in range(count))
    return any(int.from_bytes(table[at : at + 4], "little") == pt_interp for at in starts)


def environment(tree: Path) -> Mapping[str, str]:
    """The environment in which the tree's programs run and find one another."""
    path = f"{tree}/usr/bin:{tree}/usr/sbin:{os.environ.get('PATH', '/usr/bin:/bin')}"
    kept = {name: os.environ[name] for name in ("HOME", "TMPDIR") if name in os.environ}
    return {**kept, "PATH": path, "LAB_TREE": str(tree), "LC_ALL": "C", "SOURCE_DATE_EPOCH": "0"}


def unlink_paths(tree: Path) -> None:
    """Make the kernel headers' Makefile find the tree: it has absolute paths."""
    for makefile in (tree / "usr/src").glob("linux-headers-*/Makefile"):
        text = makefile.read_text(encoding="utf-8", errors="surrogateescape")
        if re.search(r"^include /usr/src/", text, re.MULTILINE):  # not the kernel's own Makefile
            makefile.write_text(
                re.sub(r"(^include |=)/usr/src/", r"\1$(LAB_TREE)/usr/src/", text, flags=re.MULTILINE)
            )


def make(work: Work, tree: Path, headers: str, module: Path) -> None:
    """Build the kernel modules of folder ``module`` against the headers ``usr/src/HEADERS`` of the tree.

    Without BTF: that would need pahole and Debian's debug kernel, and nothing reads it.
    """
    argv: list[str | Path] = [
        tree / "usr/bin/make",
        "-s",
        f"-j{os.cpu_count() or 1}",
        "-C",
        tree / "usr/src" / headers,
        f"M={module}",
        "CONFIG_DEBUG_INFO_BTF_MODULES=",
        f"KCFLAGS=-ffile-prefix-map={module}=/{module.name} -ffile-prefix-map={tree}=",
        "modules",
    ]
    work.run(argv, env=environment(tree), what=f"building the kernel modules of {module.name}")
