"""A VMM of one's own: Debian's QEMU packages as somebody's build, held against root file systems."""

from __future__ import annotations

import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path

import pytest

from lab.base.errors import ConfigError
from lab.boards.vmm import Vmm
from lab.boards.vmms import Places, command
from lab.imaging import apt, recipe, resolve, toolchain
from lab.imaging.builder import image_cache
from lab.imaging.cache import Work
from lab.imaging.own import vmm
from lab.imaging.own.elf import read_elf
from lab.imaging.own.given import VMM_FOLDER, Own
from lab.imaging.plan import Keys
from lab.imaging.steps import Steps

LIBRARIES = "usr/lib/aarch64-linux-gnu"
PROGRAM = "qemu-system-aarch64"
NEWER = "opt/qemu-11"


@pytest.fixture(scope="module")
def steps() -> Steps:
    path = recipe.find("board-trixie")
    return Steps(path, recipe.load(path), image_cache())


@pytest.fixture(scope="module")
def keys(steps) -> Keys:
    host = toolchain.host_architecture()
    return Keys(steps.recipe, steps.path.parent, resolve.find_packages(steps.cache, steps.recipe, host))


@pytest.fixture(scope="module")
def debs(steps, keys) -> dict[str, Path]:
    """The packages of another QEMU than the image's first: name -> file in the cache."""
    found = {package.name: package for package in keys.packages.roots[NEWER]}
    return dict(zip(found, apt.download(steps.cache, list(found.values()), steps.mirror), strict=True))


@pytest.fixture(scope="module")
def tools(steps, keys) -> Path:
    return steps.tools(keys, toolchain.host_architecture())


@pytest.fixture(scope="module")
def root(steps, keys, tools) -> Path:
    """The image's root file system; not to be written to."""
    future: Future[Path] = Future()
    future.set_result(tools)
    return steps.root(keys, future)


@pytest.fixture
def work(tmp_path) -> Iterator[Work]:
    (tmp_path / "work").mkdir()
    with (tmp_path / "lock").open("wb") as lock:
        yield Work(tmp_path / "work", lock, threading.Event())


@pytest.fixture(scope="module")
def tree(debs, tmp_path_factory) -> Path:
    """What ``make install DESTDIR=DIR`` leaves: the packages unpacked into a folder."""
    folder = tmp_path_factory.mktemp("tree")
    for deb in debs.values():
        subprocess.run(["dpkg-deb", "-x", deb, folder], check=True)
    return folder


def part(root: Path, target: Path, *without: str) -> Path:
    """A root file system with the libraries of ``root``, but for some."""
    (target / LIBRARIES).mkdir(parents=True)
    for path in (root / LIBRARIES).glob("*.so*"):
        if path.name not in without:
            (target / LIBRARIES / path.name).symlink_to(path)
    return target


def names(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("form", ["packages", "folder", "archive"])
def test_it_lies_on_the_board_in_one_layout_whatever_it_came_in(
    form, keys, debs, tree, root, tools, work, tmp_path
):
    given = {"packages": [*debs.values()], "folder": [tree]}.get(form)
    if given is None:
        given = [tmp_path / "qemu.tar"]
        subprocess.run(["tar", "-cf", *given, "--exclude=usr/share/doc", "-C", tree, "."], check=True)
    vmm.make(work, "qemu", given, root, tools)
    version = (work.path / "version").read_text()
    [package] = [one for one in keys.packages.roots[NEWER] if one.name == "qemu-system-arm"]
    assert package.version.startswith(f"1:{version}+")
    there = names(work.path / "vmm")
    assert {PROGRAM, f"bin/{PROGRAM}", "share/efi-virtio.rom", "modules/hw-display-virtio-gpu.so"} <= there
    assert not [name for name in there if "x86" in name or "ppc" in name or name.startswith("lib/")]
    made = (work.path / "vmm" / PROGRAM).read_text()
    assert f"exec {VMM_FOLDER}/bin/{PROGRAM} " in made
    assert command(Vmm(binary="own"), Places()).argv[0] == f"{VMM_FOLDER}/{PROGRAM}"
    assert not (work.path / "unpacked").exists()


def test_a_library_that_the_image_lacks_goes_along_where_it_was_given(tree, root, tools, work, tmp_path):
    lacking = part(root, tmp_path / "root", "libfdt.so.1", "libslirp.so.0")
    with pytest.raises(ConfigError, match=r"needs libfdt\.so\.1, libslirp\.so\.0, which the image has not"):
        vmm.make(work, "qemu", [tree], lacking, tools)
    libraries = tmp_path / "libraries"
    libraries.mkdir()
    for name in ("libfdt.so.1", "libslirp.so.0", "libc.so.6", "libz.so.1"):
        shutil.copy(root / LIBRARIES / name, libraries)
    shutil.rmtree(work.path)
    vmm.make(work, "qemu", [tree, libraries], lacking, tools)
    there = {name for name in names(work.path / "vmm") if name.startswith("lib/")}
    assert there == {"lib/libfdt.so.1", "lib/libslirp.so.0", "lib/libz.so.1"}, "one C library for all"


def test_a_library_that_is_too_old_is_told_with_the_version(tree, root, tools, work, tmp_path):
    older = part(root, tmp_path / "root", "libslirp.so.0")
    (older / LIBRARIES / "libslirp.so.0").symlink_to(
        root / LIBRARIES / "libz.so.1"
    )  # has versions, not these
    with pytest.raises(ConfigError, match=r"needs SLIRP_[\d.]+ of libslirp\.so\.0, newer than the image's"):
        vmm.make(work, "qemu", [tree], older, tools)


def test_modules_that_every_guest_needs_are_asked_for(debs, root, tools, work):
    with pytest.raises(
        ConfigError, match="has hw-display-virtio-gpu and hw-display-virtio-gpu-pci as modules"
    ):
        vmm.make(work, "qemu", [debs["qemu-system-arm"]], root, tools)


def test_another_loader_is_told(tree, root, tools, work, tmp_path):
    data = (tree / "usr/bin" / PROGRAM).read_bytes()
    assert read_elf(tree / "usr/bin" / PROGRAM).loader == "/lib/ld-linux-aarch64.so.1"
    (tmp_path / PROGRAM).write_bytes(
        data.replace(b"/lib/ld-linux-aarch64.so.1\0", b"/lib/ld-musl-aarch64.so.1\0\0")
    )
    with pytest.raises(
        ConfigError, match=r"is started by /lib/ld-musl-aarch64\.so\.1, which the image has not"
    ):
        vmm.make(work, "qemu", [tmp_path / PROGRAM, tree / LIBRARIES], root, tools)


def test_what_is_no_vmm_for_the_board_is_refused(tree, tmp_path):
    (tmp_path / "script").write_text("#!/bin/sh\n")
    (tmp_path / "text").write_text("hello")
    cut = tmp_path / PROGRAM
    cut.write_bytes((tree / "usr/bin" / PROGRAM).read_bytes()[:100_000])
    other = tree / "usr/bin/qemu-pr-helper"
    for kind, given, said in (
        ("qemu", Path(sys.executable), "is a program for"),
        ("qemu", tmp_path / "script", "is a script"),
        ("qemu", tmp_path / "text", "is no program"),
        ("qemu", cut, "no QEMU that emulates a machine"),
        ("qemu", other, "no QEMU that emulates a machine"),
        ("qemu", tree / "usr/share", "has no qemu-system-aarch64"),
        ("crosvm", tree, "has no crosvm: it has qemu-system-"),
        ("crosvm", other, "is no crosvm"),
    ):
        if given == Path(sys.executable) and toolchain.host_architecture() == "arm64":
            said = "no QEMU"
        with pytest.raises(ConfigError, match=said) as caught:
            vmm.find(kind, given, [given])
        assert str(caught.value).startswith(f"{given}: ")
        assert "\n" not in str(caught.value)


def test_the_options_of_a_vmm(tmp_path):
    words = ["gpu=virgl", f"qemu={tmp_path}/a", f"qemu={tmp_path}/b"]
    settings, fields = Own.vmm_words(words)
    own = Own(**fields)
    assert settings == ["gpu=virgl"]
    assert own.vmm == ("qemu", (tmp_path / "a", tmp_path / "b"))
    assert own.settings == ["kind=qemu", "binary=own"]
    assert own.options() == ["--vmm", words[1], "--vmm", words[2]]
    assert Own.from_plain(own.plain()) == own
    with pytest.raises(ConfigError, match="no such file or folder: --vmm"):
        own.check()
    with pytest.raises(ConfigError, match="a board runs one of them"):
        Own(qemu=(tmp_path,), crosvm=(tmp_path,)).check()
