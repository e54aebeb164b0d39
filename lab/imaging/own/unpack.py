"""What a kernel's build hands out, unpacked: folders, archives and packages with a kernel and its modules.

`make tarzst-pkg`, `make bindeb-pkg`, `make modules_install INSTALL_MOD_PATH=DIR`, the build folder itself,
Debian's own packages.
"""

from __future__ import annotations

import lzma
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from lab.base import proc
from lab.base.errors import ConfigError
from lab.imaging import toolchain
from lab.imaging.cache import Work
from lab.imaging.own import buildtree
from lab.imaging.own.kernelfile import machine

NOT_WANTED = (
    "usr/share",
    "usr/lib/linux-image-*",
    "dtb",
    "dtbs",
    "build",
    "source",
    "System.map*",
    "vmlinux*",
)
"""Of a package: documents, device trees, links into the folder that it was built in, symbols."""

KERNELS = ("boot/vmlinuz-*", "boot/Image*", "*/boot/vmlinuz-*", "**/modules/*/vmlinuz", "vmlinuz-*", "Image*")
"""Where the kernel lies; archives of some releases of Linux have all below one folder."""

PROGRAMS = {".zst": "zstd", ".xz": "xz", ".lzo": "lzop", ".lz4": "lz4"}
"""Suffix of an archive -> what tar(1) needs to read it."""

VERMAGIC = re.compile(rb"\0vermagic=(\S+) ")
"""Release of the kernel that a module is for (Linux, include/linux/vermagic.h)."""

BATCH = 100
"""Modules that one strip(1) gets."""


def is_kernel_file(path: Path) -> bool:
    """Whether ``path`` is a kernel itself, and not a package or a folder that may have one."""
    return path.is_file() and not is_package(path)


def is_package(path: Path) -> bool:
    """Whether ``path`` is a Debian package or an archive, by its name."""
    return path.suffix == ".deb" or bool(re.search(r"\.(tar(\.\w+)?|t[gx]z|tzst)$", path.name))


def unpack(
    work: Work, source: Path, target: Path, drop: Sequence[str], *, unwanted: Sequence[str] = NOT_WANTED
) -> None:
    """Fill the folder ``target`` with what of ``source`` is wanted, less modules that ``drop`` names.

    ``drop``: paths below a kernel's folder of modules (wildcards allowed). Raises ConfigError, naming
    ``source``, for what cannot be read, is for another architecture, or would write outside of ``target``.
    """
    if source.is_dir() and buildtree.build_folder(source) == source:
        buildtree.install(work, source, target, drop)
        return
    if (source / "vmlinux").is_file() and (source / ".config").is_file():
        raise ConfigError("is the build folder of a kernel that is not for arm64", file=source)
    target.mkdir(parents=True)
    listed = target.with_name(f"{target.name}.drop")
    listed.write_text("".join(f"{pattern}\n" for pattern in [*unwanted, *drop]))
    tar = [proc.require("tar"), "-x", "--no-same-owner", "-X", str(listed), "-C", str(target)]
    if source.is_dir():
        reader = [proc.require("tar"), "-c", "-X", str(listed), "-C", str(source), "."]
    elif source.suffix == ".deb":
        _check_architecture(source)
        reader = [proc.require("dpkg-deb"), "--fsys-tarfile", str(source)]
    elif is_package(source):
        if program := PROGRAMS.get(source.suffix.replace(".tzst", ".zst")):
            proc.require(program)
        reader = []
        tar += ["-f", str(source)]
    else:
        raise ConfigError("is no folder, no tar archive and no Debian package", file=source)
    _run(work, source, reader, tar)
    listed.unlink()


def _check_architecture(deb: Path) -> None:
    done = subprocess.run(
        [proc.require("dpkg-deb"), "-f", str(deb), "Architecture"],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise ConfigError(f"cannot be read ({_last(done.stderr)})", file=deb)
    if (name := done.stdout.strip()) not in ("arm64", "all"):
        raise ConfigError(f"is a package for {name}, the board is arm64", file=deb)


def _run(work: Work, source: Path, reader: list[str], tar: list[str]) -> None:
    """``reader | tar``. tar(1) itself leaves out '..' and takes a first '/' off; here they end it."""
    work.check()
    environment = {**os.environ, "LC_ALL": "C"}
    if not reader:
        done = subprocess.run(
            tar, capture_output=True, text=True, errors="replace", env=environment, check=False
        )
        said, code = done.stderr, done.returncode
    else:
        # Its messages go to a file: nobody would read a pipe while it waits for tar(1), and tar for it.
        with (
            tempfile.TemporaryFile() as messages,
            subprocess.Popen(reader, stdout=subprocess.PIPE, stderr=messages, env=environment) as first,
        ):
            assert first.stdout is not None
            done = subprocess.run(
                tar,
                stdin=first.stdout,
                capture_output=True,
                text=True,
                errors="replace",
                env=environment,
                check=False,
            )
            first.stdout.close()  # a reader whose tar(1) has failed is told so, instead of waiting for ever
            first.wait()
            messages.seek(0)
            said = messages.read().decode(errors="replace") + done.stderr
        code = first.returncode or done.returncode
    if found := re.search(r"Member name contains '\.\.'|Removing leading `([^']*)' from member names", said):
        raise ConfigError(
            f"has names that lead out of it ('{found[1] or '..'}')",
            file=source,
            hint="nothing of it was used",
        )
    if code:
        raise ConfigError(f"cannot be unpacked ({_last(said)})", file=source)


def _last(said: str) -> str:
    lines = [line for line in said.strip().splitlines() if "Exiting with failure status" not in line]
    return lines[-1] if lines else "no message"


def modules_in(folder: Path) -> Iterator[tuple[str, Path]]:
    """Release and folder of modules, or of lists of them, for each kernel below an unpacked ``folder``."""
    tops = {path.parent for name in ("modules.order", "modules.builtin") for path in folder.rglob(name)}
    for top in sorted(tops | {path.parent for path in folder.glob("**/modules/*/kernel")}):
        if top.parent.name == "modules":
            yield top.name, top
        elif release := _release(top):
            yield release, top


def _release(folder: Path) -> str:
    """As a module below ``folder`` says; empty without modules."""
    for path in module_files(folder):
        found = VERMAGIC.search(read_module(path))
        return found[1].decode() if found else ""
    return ""


def kernel_in(folder: Path) -> Path | None:
    """The kernel's file below an unpacked ``folder``; None where it has none."""
    for pattern in KERNELS:
        for path in sorted(folder.glob(pattern)):
            if path.is_file():
                return path
    return None


def module_files(folder: Path) -> list[Path]:
    """All modules below ``folder``, compressed or not."""
    return sorted(path for path in folder.rglob("*.ko*") if re.search(r"\.ko(\.(xz|gz|zst))?$", path.name))


def read_module(path: Path) -> bytes:
    """The plain content of a module. Raises ConfigError where it is damaged."""
    data = path.read_bytes()
    try:
        if path.suffix == ".xz":
            return lzma.decompress(data)
        if path.suffix in (".zst", ".gz"):
            program = proc.require({".zst": "zstd", ".gz": "gzip"}[path.suffix])
            return subprocess.run([program, "-dc"], input=data, capture_output=True, check=True).stdout
    except (lzma.LZMAError, subprocess.CalledProcessError):
        raise ConfigError("is a damaged module", file=path) from None
    return data


def check_modules(folder: Path, source: Path) -> None:
    """Raise ConfigError, naming ``source``, where the modules below ``folder`` are not for arm64."""
    for path in module_files(folder)[:1]:
        if (name := machine(read_module(path))) != "arm64":
            raise ConfigError(f"has modules for {name or 'no architecture'}, the board is arm64", file=source)


def strip(work: Work, folder: Path, tree: Path) -> None:
    """Take the debug data out of the modules below ``folder``: a build with it has ten times their size."""
    fat = [
        path for path in module_files(folder) if path.suffix == ".ko" and b".debug_info" in path.read_bytes()
    ]
    program = tree / "usr/bin" / f"{toolchain.PREFIX}strip"

    def one(batch: Sequence[Path]) -> None:
        work.run([program, "--strip-debug", *batch], env=toolchain.environment(tree), what="strip")

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for _ in pool.map(one, [fat[at : at + BATCH] for at in range(0, len(fat), BATCH)]):
            pass


def merge(tree: Path, target: Path) -> None:
    """Move modules to ``target/RELEASE``, out of the numbered folders below ``tree`` that sources went to.

    A kernel may be spread over several packages: what came later lies over what came before.
    """
    target.mkdir()
    for one in sorted(tree.iterdir(), key=lambda path: int(path.name)):
        for release, modules in list(modules_in(one)):
            shutil.copytree(
                modules, target / release, symlinks=True, dirs_exist_ok=True, copy_function=os.replace
            )
