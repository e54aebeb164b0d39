"""What a user gets wrong costs one clear line and exit code 2, before anything is booted."""

from __future__ import annotations

import socket
import subprocess
from pathlib import Path

import pytest

from lab.boards import load_target
from tests.command import lab


def target_file(folder: Path, old: str, new: str) -> Path:
    """A copy of virt-smmu with one thing changed."""
    text = load_target("virt-smmu").path.read_text()
    assert old in text
    path = folder / "mine.yaml"
    path.write_text(text.replace(old, new))
    return path


def line_with(path: Path, text: str) -> int:
    return next(n for n, line in enumerate(path.read_text().splitlines(), 1) if text in line)


def check(done: subprocess.CompletedProcess[str], *words: str) -> None:
    assert done.returncode == 2, done.stderr
    lines = [line for line in done.stderr.splitlines() if line.strip()]
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("lab: ")
    for word in words:
        assert word in lines[0]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["run", "--target", "virt-smu"], ["unknown target 'virt-smu'", "virt-smmu"]),
        (["run", "--target", "rpi-4"], ["nothing to measure: rpi-4 has no decoder", "raspberrypi/linux"]),
        (["run", "--target", "mt8183-juniper"], ["mt8183-juniper.yaml:", "depthcharge"]),
        (["run", "vm", "--switch"], ["--switch is for suite board, not for vm", "the mode that they were"]),
        (["targets", "check", "rk3398"], ["unknown target 'rk3398'", "rk3399-rockpro64"]),
        (["run", "bord"], ["unknown suite 'bord'", "board"]),
        (["run", "--iommu", "on"], ["'on' is not an IOMMU mode", "translated"]),
        (["run", "--target", "virt-cma", "--iommu", "translated"], ["virt-cma has no IOMMU mode", "off"]),
        (["run", "vm", "--vmm", "colour=red"], ["colour=red", "keys: kind, binary"]),
        (["run", "vm", "--vmm", "gpu=red"], ["gpu=red", "'virgl'"]),
        (["decode", "nothing.fwht"], ["nothing.fwht", "no such file"]),
        (["decode", __file__], [__file__, "frame 0 at byte 0"]),
        (["decode", "[bold]nothing"], ["lab: [bold]nothing: no such file"]),
        (["reserve", "[/x]"], ["'[/x]' is not TAG=VALUE"]),
        (["run", "-t", "/bin/ls"], ["/bin/ls", "cannot be read"]),
        (["run", "x" * 300], ["unknown suite 'xxx"]),
        (["run", "--dtb", "/tmp"], ["/tmp: not a file: --dtb"]),
        (["bringup", "virt-smmu", "--write", "no/such/folder"], ["no/such: no such folder"]),
        (["results", "add", "--store", "/dev/null/store", __file__], ["/dev/null: cannot be made"]),
        (["images", "build", "no-such-image"], ["no-such-image", "board-trixie"]),
        (["results", "show", "2001"], ["no result store", "lab run"]),
    ],
)
def test_a_wrong_name_names_the_right_ones(tmp_path, words, said):
    check(lab(*words, cwd=tmp_path), *said)


@pytest.mark.parametrize(
    ("old", "new", "at", "said"),
    [
        ("soc: qemu-virt", "soc: [qemu-virt", "board: QEMU", ["expected"]),
        ("memory: 3G\n\n", "memory: 3G\ncolour: red\n\n", "colour", ["unknown key 'colour'"]),
        ("dma_mask: 28", "dma_mask: many", "dma_mask: many", ["dma_mask"]),
        ("SSHDriver:", "SHHDriver:", "SHHDriver", ["SHHDriver"]),
        ("  smp: 1", "  cores: 1", "cores", ["unknown key 'cores'", "smp"]),
        ("image: board-trixie", "image: board-sarge", "", ["board-sarge"]),
    ],
)
def test_a_wrong_target_file_is_named_with_its_line(tmp_path, old, new, at, said):
    path = target_file(tmp_path, old, new)
    where = f"mine.yaml:{line_with(path, at)}: " if at else ""
    check(lab("run", "--target", path, cwd=tmp_path), where, *said)


def test_a_missing_program_is_named_with_its_package(tmp_path):
    without_qemu = tmp_path / "bin"
    without_qemu.mkdir()
    (without_qemu / "ssh").symlink_to("/usr/bin/ssh")
    done = lab("run", cwd=tmp_path, PATH=str(without_qemu))
    check(done, "qemu-system-aarch64", "apt-get install qemu-system-arm")


@pytest.mark.board
def test_a_port_in_use(tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = lab("rack", "up", "virt-cma", "--dir", tmp_path / "rack", "--base-port", port, cwd=tmp_path)
    check(done, str(port), "in use")


@pytest.mark.parametrize(
    ("variable", "words"),
    [("XDG_CACHE_HOME", ["images", "list"]), ("XDG_RUNTIME_DIR", ["rack", "status"])],
)
def test_a_home_that_cannot_be_written(tmp_path, variable, words):
    done = lab(*words, cwd=tmp_path, **{variable: "/dev/null"})
    check(done, "/dev/null/sharelab: cannot be made (Not a directory)", f"{variable} names another place")


@pytest.mark.parametrize("name", ["a folder", "with:colon", "$HOME"])
def test_a_cache_in_which_no_kernel_module_can_be_built(tmp_path, name):
    done = lab("images", "build", cwd=tmp_path, XDG_CACHE_HOME=str(tmp_path / name))
    check(done, f"{name}/sharelab/imaging'", "the kernel's build takes no", "XDG_CACHE_HOME")


def test_results_that_cannot_be_written(tmp_path):
    (tmp_path / "results").write_text("a file, no folder")
    check(lab("run", "-k", "nothing", cwd=tmp_path), "results")
