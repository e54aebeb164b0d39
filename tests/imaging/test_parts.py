"""The pure parts: archives, package lists, versions, program files."""

import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lab.base.errors import ConfigError
from lab.imaging import cpio, kernel, modules, toolchain
from lab.imaging.apt import Package, parse_uris

HASH = "0123456789abcdef" * 4
names = st.text("abcdefghijklmnopqrstuvwxyz0123456789._-", min_size=1, max_size=12).filter(
    lambda name: name not in (".", "..")
)


def test_packages_from_apts_own_words():
    output = (
        "Reading package lists...\n"
        "'http://m.example/debian/pool/main/p/pkg/pkg_1%3a2.0%2bb1_arm64.deb' "
        f"pkg_1%3a2.0+b1_arm64.deb 123 SHA256:{HASH}\n"
        "'http://m.example/x' x_1_all.deb 5 MD5Sum:0123\n"
    )
    path = "pool/main/p/pkg/pkg_1%3a2.0%2bb1_arm64.deb"
    assert parse_uris(output, "http://m.example/debian/") == [
        Package("pkg", "1:2.0+b1", "arm64", path, 123, HASH)
    ]


def package(name):
    return Package(name, "1", "arm64", "", 0, HASH)


def test_the_kernels_version():
    listed = [package("linux-image-arm64"), package("linux-image-6.12.107+deb13-arm64"), package("dash")]
    release = kernel.version(listed)
    assert release == "6.12.107+deb13-arm64"
    assert kernel.header_packages(release) == (
        "linux-headers-6.12.107+deb13-arm64",
        "linux-headers-6.12.107+deb13-common",
        "linux-kbuild-6.12.107+deb13",
    )


def test_no_kernel_among_the_packages():
    with pytest.raises(ConfigError, match="no kernel"):
        kernel.version([package("dash")])


def test_what_a_module_depends_on():
    info = b"\0version=1\0depends=vfio,vfio-pci-core,irqbypass\0name=vfio_pci\0"
    assert modules.needs(b"\x7fELF" + info) == ["vfio", "vfio-pci-core", "irqbypass"]
    assert modules.needs(b"\x7fELF\0depends=\0name=mc\0") == []
    assert {modules.plain_name(name) for name in ("vfio-pci-core.ko.xz", "vfio_pci_core")} == {
        "vfio_pci_core"
    }


@pytest.mark.parametrize(
    "text",
    [
        "include /usr/src/linux-headers-6-common/Makefile\n",
        "KBUILD_OUTPUT=/usr/src/linux-headers-7\ninclude /usr/src/linux-headers-7-common/Makefile\n",
    ],
)
def test_kernel_headers_name_the_tree(tmp_path, text):
    folder = tmp_path / "usr/src/linux-headers-7"
    folder.mkdir(parents=True)
    (folder / "Makefile").write_text(text)
    toolchain.unlink_paths(tmp_path)
    assert (folder / "Makefile").read_text() == text.replace("/usr/src", "$(LAB_TREE)/usr/src")


def test_which_files_are_programs(tmp_path):
    assert toolchain.is_program(Path(sys.executable).resolve())
    script = tmp_path / "script"
    script.write_text("#!/bin/sh\n" + "x" * 100)
    assert not toolchain.is_program(script)
    cut = tmp_path / "cut"
    cut.write_bytes(b"\x7fELF\x02\x01")
    assert not toolchain.is_program(cut)


def unpacked(data: bytes, folder: Path) -> dict[str, tuple[int, bytes]]:
    argv = ["cpio", "-idm", "--quiet", "--no-absolute-filenames"]
    subprocess.run(argv, input=data, cwd=folder, check=True, stderr=subprocess.DEVNULL)
    return {
        str(path.relative_to(folder)): (path.stat().st_mode, path.read_bytes() if path.is_file() else b"")
        for path in sorted(folder.rglob("*"))
    }


@settings(max_examples=25, deadline=None)
@given(st.dictionaries(names, st.tuples(st.binary(max_size=9), st.sampled_from([0o644, 0o755])), max_size=5))
def test_cpio_reads_what_we_write(tmp_path_factory, files):
    folder = tmp_path_factory.mktemp("cpio")
    data = cpio.archive({f"top/{name}": value for name, value in files.items()})
    assert len(data) % 4 == 0
    found = unpacked(data, folder)
    for name, (content, mode) in files.items():
        assert found[f"top/{name}"] == (stat.S_IFREG | mode, content)
    assert len(found) == len(files) + bool(files)
    shutil.rmtree(folder)


def test_folders_keep_their_mode(tmp_path):
    found = unpacked(cpio.archive({"dev": (b"", stat.S_IFDIR | 0o700), "a/b/c": (b"x", 0o600)}), tmp_path)
    assert stat.S_IMODE(found["dev"][0]) == 0o700
    assert found["a/b/c"] == (stat.S_IFREG | 0o600, b"x")
