"""Files of a kernel's build: what an arm64 board cannot use is refused in one line that says why."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import shutil
import socket
import subprocess
import sys
import tarfile
import threading
from pathlib import Path

import pytest

from lab.base.errors import ConfigError
from lab.imaging.cache import Work
from lab.imaging.own import buildtree
from lab.imaging.own.given import Own
from lab.imaging.own.kernelfile import machine, read_kernel
from lab.imaging.own.kernels import kernel_path
from lab.imaging.own.unpack import check_modules, kernel_in, merge, modules_in, unpack

BANNER = b"Linux version 6.19.0-mine (me@here) #1 SMP\0"


def image(size: int = 4096) -> bytes:
    """The header of an arm64 Image as booting.rst lays it out, and what the kernel says of itself."""
    head = b"MZ" + bytes(14) + size.to_bytes(8, "little") + bytes(0x38 - 24) + b"ARM\x64"
    return (head + bytes(64) + BANNER).ljust(size, b"\0")


def zboot(payload: bytes, kind: bytes) -> bytes:
    """An EFI program with a compressed Image, as zboot-header.S lays it out."""
    head = b"MZ\0\0zimg" + (64).to_bytes(4, "little") + len(payload).to_bytes(4, "little") + bytes(8)
    return head + kind.ljust(40, b"\0") + payload


def packed(data: bytes, *program: str) -> bytes:
    """As the kernel's build packs an Image: by the program, with the size behind it in a zboot kernel."""
    return subprocess.run([*program, "-c"], input=data, capture_output=True, check=True).stdout


SIZE = (4096).to_bytes(4, "little")
"""What follows the compressed kernel in an EFI program (scripts/Makefile.lib of Linux, size_append)."""


@pytest.fixture
def work(tmp_path):
    with (tmp_path / "lock").open("wb") as lock:
        yield Work(tmp_path, lock, threading.Event())


def write(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


FORMS = {
    "Image": image(),
    "Image.gz": gzip.compress(image()),
    "Image.bz2": bz2.compress(image()),
    "Image.xz": lzma.compress(image(), check=lzma.CHECK_CRC32),
    "Image.lzma": lzma.compress(image(), format=lzma.FORMAT_ALONE),
    "Image.zst": packed(image(), "zstd", "-q"),
    "Image.lz4": packed(image(), "lz4", "-l", "-9"),
    "zboot gzip": zboot(gzip.compress(image()), b"gzip"),
    "zboot xz": zboot(lzma.compress(image(), check=lzma.CHECK_CRC32) + SIZE, b"xzkern"),
    "zboot zstd": zboot(packed(image(), "zstd", "-q") + SIZE, b"zstd22"),
    "zboot lz4": zboot(packed(image(), "lz4", "-l", "-9") + SIZE, b"lz4"),
}
"""A kernel as arch/arm64/boot/Makefile and drivers/firmware/efi/libstub/Makefile.zboot can make it."""


@pytest.mark.parametrize("data", FORMS.values(), ids=FORMS)
def test_a_kernel_is_unpacked_and_its_release_is_read(tmp_path, data):
    found = read_kernel(write(tmp_path / "kernel", data))
    assert (found.image, found.release) == (image(), "6.19.0-mine")


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (bytes(0x202) + b"HdrS" + bytes(64), "kernel for x86"),
        (bytes(0x24) + b"\x18\x28\x6f\x01" + bytes(64), "kernel for 32-bit ARM"),
        (b"MZ" + bytes(0x36) + b"RSC\x05" + bytes(64), "kernel for RISC-V"),
        (b"hello", "is no arm64 kernel"),
        (b"", "is no arm64 kernel"),
        (image()[:100], "cut short"),
        (image()[:1000], "cut short: 1000 bytes of 4096"),
        (gzip.compress(image())[:50], "damaged"),
        (zboot(gzip.compress(image()), b"gzip")[:90], "damaged"),
        (b"\x89LZO\0\r\n\x1a\n" + bytes(64), "compressed by lzo"),
        (zboot(b"x", b"lzo"), "compressed by lzo"),
        (packed(image(), "lz4", "-l")[:20], "damaged"),
    ],
    ids=[
        "x86",
        "arm32",
        "riscv",
        "text",
        "empty",
        "short",
        "cut",
        "Image.gz",
        "zboot",
        "lzo",
        "zboot lzo",
        "lz4",
    ],
)
def test_what_a_board_cannot_boot_is_refused(tmp_path, data, said):
    path = write(tmp_path / "kernel", data)
    with pytest.raises(ConfigError, match=said) as caught:
        read_kernel(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_elf_file_is_told_by_its_architecture(tmp_path):
    program = Path(sys.executable).read_bytes()
    assert machine(program) in ("x86-64", "arm64")
    with pytest.raises(ConfigError, match=f"ELF file for {machine(program)}"):
        read_kernel(Path(sys.executable))


def test_a_file_that_cannot_be_read(tmp_path):
    with pytest.raises(ConfigError, match="cannot be read"):
        read_kernel(tmp_path)


def module(folder: Path, release: str, machine: int = 183) -> Path:
    """Where a kernel's modules lie, with one that has what of it is looked at."""
    place = folder / "lib/modules" / release
    (place / "kernel/drivers").mkdir(parents=True)
    head = b"\x7fELF\x02\x01\x01" + bytes(9) + (1).to_bytes(2, "little") + machine.to_bytes(2, "little")
    said = f"\0vermagic={release} SMP\0depends=\0".encode()
    (place / "kernel/drivers/one.ko").write_bytes(head + bytes(64) + said)
    (place / "modules.order").write_text("kernel/drivers/one.ko\n")
    (place / "build").symlink_to("/nowhere")
    return place


@pytest.mark.parametrize("kind", ["tar", "tar.gz", "tar.zst", "folder", "folder of one release"])
def test_modules_are_found_however_they_are_packed(tmp_path, work, kind):
    place = module(tmp_path / "install", "6.19.0-mine")
    (place / "kernel/sound").mkdir()
    (place / "kernel/sound/loud.ko").write_bytes(b"")
    source = {"folder": tmp_path / "install", "folder of one release": place}.get(kind)
    if source is None:
        source = tmp_path / f"all.{kind}"
        subprocess.run(["tar", "-caf", source, "-C", tmp_path / "install", "."], check=True)
    (tmp_path / "tree").mkdir()
    unpack(work, source, tmp_path / "tree/0", ["kernel/sound"])
    assert [release for release, _ in modules_in(tmp_path / "tree/0")] == ["6.19.0-mine"]
    merge(tmp_path / "tree", tmp_path / "merged")
    names = sorted(path.name for path in (tmp_path / "merged/6.19.0-mine").rglob("*") if not path.is_dir())
    assert names == ["modules.order", "one.ko"]


def test_a_kernel_that_is_spread_over_packages_is_one(tmp_path, work):
    for number, name in enumerate(("kernel", "modules")):
        place = module(tmp_path / name, "6.19.0-mine")
        if name == "kernel":
            shutil.rmtree(place / "kernel")
            (place / "vmlinuz").write_bytes(image())
        else:
            (place / "modules.order").unlink()
        (tmp_path / "tree").mkdir(exist_ok=True)
        unpack(work, tmp_path / name, tmp_path / f"tree/{number}", [])
    assert kernel_in(tmp_path / "tree/0").read_bytes() == image()
    merge(tmp_path / "tree", tmp_path / "merged")
    assert [path.name for path in (tmp_path / "merged").iterdir()] == ["6.19.0-mine"]
    assert (tmp_path / "merged/6.19.0-mine/kernel/drivers/one.ko").is_file()
    assert (tmp_path / "merged/6.19.0-mine/modules.order").is_file()


def pieces(folder: Path, release: str) -> Path:
    """What scripts/package/buildtar puts into the folder that is packed (``make dir-pkg``)."""
    module(folder, release)
    (folder / "boot").mkdir()
    for name in ("System.map", "config", "vmlinux"):
        (folder / "boot" / f"{name}-{release}").write_bytes(b"other")
    (folder / "boot" / f"vmlinuz-{release}").write_bytes(gzip.compress(image()))
    return folder


@pytest.mark.parametrize(
    "form", ["dir-pkg", "tar-pkg", "targz-pkg", "tarzst-pkg below a folder", "bindeb-pkg"]
)
def test_what_make_hands_out_has_kernel_and_modules_in_one(tmp_path, work, form):
    release = "6.19.0-mine"
    source = folder = pieces(tmp_path / "tar-install", release)
    if form == "bindeb-pkg":
        (folder / "DEBIAN").mkdir()
        control = f"Package: linux-image-{release}\nVersion: 1\nArchitecture: arm64\n"
        (folder / "DEBIAN/control").write_text(f"{control}Maintainer: x <x@x>\nDescription: x\n")
        source = tmp_path / f"linux-image-{release}_1_arm64.deb"
        subprocess.run(["dpkg-deb", "-b", folder, source], check=True, capture_output=True)
    elif form != "dir-pkg":
        source = tmp_path / f"linux-{release}-arm64.{form.split('-')[0].replace('tar', 'tar.').rstrip('.')}"
        below = [f"--transform=s:^\\.:linux-{release}-arm64:S"] if "below" in form else []
        subprocess.run(["tar", "-caf", source, *below, "-C", folder, "."], check=True)
    unpack(work, source, tmp_path / "tree/0", [])
    assert read_kernel(kernel_in(tmp_path / "tree/0")).release == release
    merge(tmp_path / "tree", tmp_path / "merged")
    assert (tmp_path / "merged" / release / "kernel/drivers/one.ko").is_file()


def build_tree(folder: Path, release: str) -> Path:
    """What ``make O=folder`` leaves of an Image and a module."""
    for name in ("arch/arm64/boot", "drivers/a", "sound", "include/config"):
        (folder / name).mkdir(parents=True)
    (folder / ".config").write_text("CONFIG_ARM64=y\n")
    (folder / "include/config/kernel.release").write_text(f"{release}\n")
    (folder / "arch/arm64/boot/Image").write_bytes(image())
    made = module(folder / "elsewhere", release) / "kernel/drivers/one.ko"
    for name in ("drivers/a/one.ko", "sound/loud.ko"):
        shutil.copy(made, folder / name)
    shutil.rmtree(folder / "elsewhere")
    (folder / "drivers/a/not-asked-for.ko").write_bytes(b"an older configuration's")
    (folder / "modules.order").write_text("drivers/a/one.o\nsound/loud.o\n")
    (folder / "modules.builtin").write_text("kernel/fs/two.ko\n")
    return folder


def test_a_build_folder_gives_what_modules_install_would(tmp_path, work):
    build = build_tree(tmp_path / "build", "6.19.0-mine")
    assert buildtree.build_folder(build) == build
    assert buildtree.build_folder(build / "arch/arm64/boot/Image") == build
    assert buildtree.build_folder(tmp_path) is None
    unpack(work, build, tmp_path / "tree/0", ["kernel/sound"])
    [(release, found)] = modules_in(tmp_path / "tree/0")
    assert release == "6.19.0-mine"
    there = sorted(str(path.relative_to(found)) for path in found.rglob("*") if path.is_file())
    assert there == ["kernel/drivers/a/one.ko", "modules.builtin", "modules.order"]
    assert (found / "modules.order").read_text() == "kernel/drivers/a/one.ko\n"
    assert kernel_path(build) == build / "arch/arm64/boot/Image"
    before = buildtree.content(build)
    (build / "drivers/a/one.ko").write_bytes(b"new")
    assert buildtree.content(build) != before
    (build / "sound/loud.ko").unlink()
    with pytest.raises(
        ConfigError, match=r"has no sound/loud\.ko, which its modules\.order lists: make modules"
    ):
        buildtree.content(build)
    (build / "arch/arm64/boot/Image").unlink()
    with pytest.raises(ConfigError, match="has no arch/arm64/boot/Image: make "):
        kernel_path(build)


def test_modules_for_another_architecture_are_refused(tmp_path):
    module(tmp_path, "6.19.0", machine=62)
    with pytest.raises(ConfigError, match="modules for x86-64"):
        check_modules(tmp_path, tmp_path)


@pytest.mark.parametrize("name", ["../evil", "lib/../../evil", "/evil"])
def test_an_archive_that_leads_out_of_itself_is_refused(tmp_path, work, name):
    path = tmp_path / "bomb.tar"
    with tarfile.open(path, "w") as archive:
        member = tarfile.TarInfo(name)
        member.size = 4
        archive.addfile(member, io.BytesIO(b"evil"))
    with pytest.raises(ConfigError, match=r"bomb.tar: has names that lead out of it"):
        unpack(work, path, tmp_path / "in/deep", [])
    assert not list(tmp_path.rglob("evil")) or name == "/evil"


def test_a_link_in_an_archive_takes_no_file_outside(tmp_path, work):
    (tmp_path / "outside").mkdir()
    path = tmp_path / "bomb.tar"
    with tarfile.open(path, "w") as archive:
        link = tarfile.TarInfo("way")
        link.type, link.linkname = tarfile.SYMTYPE, str(tmp_path / "outside")
        archive.addfile(link)
        member = tarfile.TarInfo("way/evil")
        member.size = 4
        archive.addfile(member, io.BytesIO(b"evil"))
    with pytest.raises(ConfigError, match=r"bomb.tar: cannot be unpacked"):
        unpack(work, path, tmp_path / "in", [])
    assert not (tmp_path / "outside/evil").exists()


@pytest.mark.parametrize(
    ("name", "data", "said"),
    [
        ("a.tar.xz", b"no archive", "cannot be unpacked"),
        ("a.deb", b"no package", "cannot be read"),
        ("a.zip", b"PK", "no tar archive"),
    ],
)
def test_what_is_no_archive_is_refused(tmp_path, work, name, data, said):
    with pytest.raises(ConfigError, match=said):
        unpack(work, write(tmp_path / name, data), tmp_path / "in", [])


def test_a_build_folder_for_another_architecture_is_refused(tmp_path, work):
    for name in ("vmlinux", ".config"):
        (tmp_path / name).write_bytes(b"")
    with pytest.raises(ConfigError, match="not for arm64"):
        unpack(work, tmp_path, tmp_path / "in", [])


def test_what_is_given_survives_the_way_to_another_process(tmp_path):
    own = Own(kernel=tmp_path / "Image", modules=(tmp_path / "a", tmp_path / "b"), cmdline="a=1 b")
    assert Own.from_plain(own.plain()) == own
    options = own.options()
    words = [
        f"{key.removeprefix('--')}={value}" for key, value in zip(options[::2], options[1::2], strict=True)
    ]
    assert Own.from_words(words) == own
    assert not Own()
    with pytest.raises(ConfigError, match="options: kernel"):
        Own.from_words(["kernl=x"])


def test_what_does_not_fit_together_is_refused(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    for own, said in (
        (Own(kernel=tmp_path / "nothing"), "no such file"),
        (Own(modules=(tmp_path,)), "for a kernel"),
        (Own(overlay=tmp_path / "file"), "not a folder"),
        (Own(cmdline="it's"), "no quotes"),
    ):
        with pytest.raises(ConfigError, match=said):
            own.check()


@pytest.mark.timeout(20)
def test_a_folder_about_which_tar_has_much_to_say_is_unpacked(work, tmp_path):
    """It names each socket that it leaves out; more than a pipe holds, which nobody reads meanwhile."""
    folder = tmp_path / "given"
    folder.mkdir()
    (folder / "vmlinuz-1").write_bytes(image())
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(str(tmp_path / "s"))
    for number in range(600):
        os.link(tmp_path / "s", folder / f"{'socket' * 30}-{number}")
    unpack(work, folder, tmp_path / "target", ())
    assert kernel_in(tmp_path / "target") == tmp_path / "target/vmlinuz-1"
