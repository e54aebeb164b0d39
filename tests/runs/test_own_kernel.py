"""Debian's newer kernel and QEMU as somebody's own, a folder over the root, a command line: real runs."""

from __future__ import annotations

import gzip
import subprocess
import sys
from pathlib import Path

import pytest

from lab.base.words import Status
from lab.imaging import apt, build, recipe, resolve, toolchain
from lab.imaging.builder import image_cache
from lab.imaging.own.derive import derive
from lab.imaging.own.given import Own
from lab.results.log import LogContents, read
from tests.command import lab

pytestmark = [pytest.mark.board, pytest.mark.timeout(300)]

CELL = ("-t", "virt-cma", "-k", "import and mmap")


SUITE = """
def test_of_mine(crossing):
    board, there = crossing.agent, crossing.guest().agent
    for agent in (board, there):
        assert agent.run(["cat", "/usr/lib/firmware/mine"])["stdout"] == b"mine"
    assert there.run(["cat", "/usr/lib/firmware/not-there"])["rc"] != 0
    assert b"vd" not in board.run(["ls", "/sys/class/block"])["stdout"]
    assert board.run(["cat", "/sys/class/net/eth0/operstate"])["stdout"] == b"up\\n"
    assert int(board.run(["stat", "-c", "%s", "/run/lab/root.squashfs"])["stdout"]) == SIZE
"""
"""A folder over the root is the guest's, too; the board has no disk, and all of its root."""


@pytest.fixture(scope="module")
def packages() -> resolve.Packages:
    """What the image is made of."""
    build()
    wanted = recipe.load(recipe.find("board-trixie"))
    found = resolve.find_packages(image_cache(), wanted, toolchain.host_architecture())
    assert found is not None
    return found


def files(packages: list[apt.Package], suffix: str = "") -> dict[str, Path]:
    """Name -> file of packages, as they lie in the cache."""
    found = apt.download(image_cache(), packages, lambda: "")
    return {one.name.removesuffix(suffix): path for one, path in zip(packages, found, strict=True)}


@pytest.fixture(scope="module")
def debs(packages: resolve.Packages) -> dict[str, Path]:
    """The packages of the backports kernel: first word of the name -> file."""
    kernel = packages.kernels["backports"]
    return files(kernel.image, f"-{kernel.release}")


@pytest.fixture(scope="module")
def qemu(packages: resolve.Packages) -> dict[str, Path]:
    """The packages of the backports QEMU."""
    return files(packages.roots["opt/qemu-11"])


def run(
    folder: Path, *words: object, suite: str | Path = "board"
) -> tuple[subprocess.CompletedProcess[str], LogContents | None]:
    """A ``lab run`` of one cell, and what it left."""
    done = lab("run", suite, *words, cwd=folder, timeout=280, COLUMNS="400")
    logs = sorted(folder.glob("results/*/results.jsonl"))
    return done, read(logs[-1]) if logs else None


def test_another_kernel_with_files_over_its_root_runs_and_is_told_apart(tmp_path, debs):
    """Also what each result says of it, and that nothing of the image was made again."""
    image = build()
    (tmp_path / "files/lib/firmware").mkdir(parents=True)
    (tmp_path / "files/lib/firmware/mine").write_text("mine")
    own = ["--kernel", debs["linux-binary"], "--cmdline", "lab.mine=1", "--overlay", tmp_path / "files"]
    for name in ("linux-modules", "linux-base"):
        own += ["--modules", debs[name]]
    done, log = run(tmp_path, *CELL, *own)
    assert done.returncode == 0, done.stderr
    (result,) = log.results
    release = image.manifest["kernels"]["backports"]
    given = Own(
        kernel=debs["linux-binary"],
        modules=(debs["linux-modules"], debs["linux-base"]),
        cmdline="lab.mine=1",
        overlay=tmp_path / "files",
    )
    derived = derive(image, "board-trixie", given)
    assert derived.cached
    assert result.status is Status.PASS
    assert result.kernel == f"{release} {derived.own['kernel']['digest'][:7]}"
    assert result.image == derived.digest != image.digest
    assert result.environment["own"] == derived.own_words
    assert "cmdline lab.mine=1" in result.environment["own"]
    assert f"--kernel {debs['linux-binary']}" in result.repeat
    assert derived.squashfs.samefile(image.squashfs)
    assert gzip.decompress(derived.packed.read_bytes()) == derived.kernel.read_bytes()
    assert derived.kernel.read_bytes() != image.kernel.read_bytes()
    assert derived.lacking(["fwht-decoder", "dma_heaps", "loop", "no_such"]) == ["no_such"]
    assert release in done.stderr


def test_all_of_it_on_a_board_whose_root_comes_over_the_network(tmp_path, debs, qemu, packages):
    """Drivers for the network before there is a root, and a VMM whose guest has the same files."""
    (tmp_path / "files/usr/lib/firmware").mkdir(parents=True)
    (tmp_path / "files/usr/lib/firmware/mine").write_text("mine")
    suite = tmp_path / "test_mine.py"
    suite.write_text(SUITE.replace("SIZE", str(build().squashfs.stat().st_size)))
    own = ["--kernel", debs["linux-binary"], "--overlay", tmp_path / "files"]
    for name in ("linux-modules", "linux-base"):
        own += ["--modules", debs[name]]
    for name in ("qemu-system-arm", "qemu-system-common", "qemu-system-data"):
        own += ["--vmm", f"qemu={qemu[name]}"]
    done, log = run(tmp_path, "-t", "virt-netroot", "--iommu", "translated", *own, suite=suite)
    assert done.returncode == 0, done.stderr
    (result,) = log.results
    assert result.status is Status.PASS
    assert result.kernel.startswith(f"{packages.kernels['backports'].release} ")
    [debian] = [one.version for one in packages.roots["opt/qemu-11"] if one.name == "qemu-system-arm"]
    name, version, digest = result.vmm.split()
    assert debian.startswith(f"1:{version}+"), "in QEMU's own words"
    assert name == "QEMU"
    assert f"vmm qemu={qemu['qemu-system-arm'].name} {digest}" in result.environment["own"]
    assert f"--vmm qemu={qemu['qemu-system-arm']}" in result.repeat


def test_a_kernel_that_does_not_boot_is_a_miss_with_its_last_words(tmp_path):
    done, log = run(tmp_path, *CELL, "--cmdline", "rdinit=/nothing init=/nothing")
    assert done.returncode == 3, done.stderr
    assert {result.status for result in log.results} == {Status.MISS}
    assert "Kernel panic - not syncing" in done.stderr
    assert "last console lines" in log.results[-1].log + log.results[-1].reason


def test_what_cannot_boot_is_refused_before_anything_is_switched_on(tmp_path, debs, qemu):
    broken = tmp_path / "Image"
    broken.write_bytes(build().kernel.read_bytes()[:1_000_000])
    for words, said in (
        (["--kernel", sys.executable], "ELF file for"),
        (["--kernel", broken], "is cut short"),
        (["--kernel", debs["linux-binary"], "--modules", debs["linux-base"]], "lacks"),
        (["--dtb", __file__], "no compiled device tree"),
        (["--vmm", f"qemu={__file__}"], "is no program"),
        (["--vmm", f"qemu={tmp_path / 'nothing'}"], "no such file or folder: --vmm"),
        (["--vmm", f"qemu={qemu['qemu-system-arm']}"], "as modules, which are not there"),
    ):
        done, log = run(tmp_path, *CELL, *words)
        assert (done.returncode, log) == (2, None), done.stderr
        (line,) = done.stderr.strip().splitlines()
        assert line.startswith("lab: ")
        assert said in line
