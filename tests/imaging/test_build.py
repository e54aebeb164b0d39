"""The real thing, in the user's cache: the first run downloads and builds, later ones take seconds."""

import gzip
import os
import shutil
import subprocess
import time

import pytest

from lab.base import dirs
from lab.base.errors import ConfigError, LabError
from lab.imaging import build, builder, mirror, recipe, resolve, toolchain
from lab.imaging.builder import Build, image_cache
from lab.imaging.cache import Cache, digest_file
from lab.imaging.image import FILES
from lab.imaging.plan import Keys
from lab.imaging.store import freed, images, sweep

pytestmark = pytest.mark.board


@pytest.fixture(scope="module")
def image():
    return build("board-trixie")


@pytest.fixture
def copied(tmp_path):
    """A copy of images/ to change."""
    shutil.copytree(dirs.root() / "images", tmp_path / "images")
    return tmp_path / "images" / "board-trixie.yaml"


def listing(image):
    argv = ["unsquashfs", "-lls", "-d", "", image.squashfs]
    return subprocess.run(argv, capture_output=True, text=True, check=True).stdout


def test_every_file_is_what_the_manifest_says(image):
    for name in FILES:
        assert digest_file(getattr(image, name)) == image.manifest["files"][name]["sha256"]
    assert image.initrd.stat().st_size % 4 == 0
    assert gzip.decompress(image.packed.read_bytes()) == image.kernel.read_bytes()
    assert image.kernel.read_bytes()[56:60] == b"ARM\x64"  # Documentation/arch/arm64/booting.rst


def test_the_root_file_system_has_what_boards_need(image):
    files = listing(image)
    release = image.manifest["kernel"]
    newer = image.manifest["kernels"]["backports"]
    for path in (
        f"/usr/lib/modules/{release}/updates/fwht_decoder.ko",
        f"/usr/lib/modules/{release}/updates/dma_heaps.ko",
        f"/usr/lib/modules/{release}/modules.dep.bin",
        "/usr/lib/python3.13/__pycache__/threading.cpython-313.pyc",
        "/usr/lib/lab/zygote.pyc",
        "/usr/bin/v4l2-compliance",
        "/usr/bin/qemu-system-aarch64",
        "/usr/lib/aarch64-linux-gnu/qemu/hw-display-virtio-gpu-pci-gl.so",
        "/usr/lib/aarch64-linux-gnu/qemu/ui-dbus.so",
        "/usr/lib/aarch64-linux-gnu/dri/libdril_dri.so",
        f"/usr/lib/modules/{release}/kernel/drivers/scsi/sd_mod.ko",
        "/boot/initrd",
        "/boot/initrd-backports",
        f"/boot/vmlinuz-{newer}",
        f"/usr/lib/modules/{newer}/kernel/drivers/gpu/drm/drm_shmem_helper.ko",
        f"/usr/lib/modules/{newer}/kernel/fs/squashfs/squashfs.ko",
        f"/usr/lib/modules/{newer}/updates/fwht_decoder.ko",
        f"/usr/lib/modules/{newer}/modules.dep.bin",
        "/opt/qemu-11/usr/bin/qemu-system-aarch64",
        "/opt/qemu-11/usr/lib/aarch64-linux-gnu/qemu/hw-display-virtio-gpu-pci-gl.so",
    ):
        assert f"{path}\n" in files
    assert "host_ed25519_key" not in files
    assert all(" root/root " in line for line in files.splitlines() if line.startswith(("-", "d", "l")))


def test_the_manifest_names_what_comes_from_other_suites(image):
    about = image.manifest
    assert about["missing"] == {}
    assert about["kernels"]["board"] == about["kernel"] != about["kernels"]["backports"]
    newer = about["roots"]["opt/qemu-11"]["qemu-system-arm"]
    assert newer != about["packages"]["qemu-system-arm"]


def test_a_mirror_without_the_other_suite_gives_an_image_that_says_so(copied):
    text = copied.read_text()
    text = text.replace("suite: trixie-backports", "suite: trixie-nowhere")
    copied.write_text(text)
    wanted = recipe.load(copied)
    with image_cache().work() as work:
        found = resolve.resolve(work, wanted, toolchain.host_architecture(), mirror.choose())
    assert set(found.missing) == {"backports", "opt/qemu-11"}
    assert all("trixie-nowhere" in reason for reason in found.missing.values())
    keys = Keys(wanted, copied.parent, found)
    assert list(keys.releases) == ["board"]
    assert {kernel for _, kernel in keys.builds} == {"board"}


def test_a_second_build_finds_it(image):
    again = build("board-trixie")
    assert again.cached
    assert again.path == image.path


def test_a_change_in_the_decoder_rebuilds_its_module_and_the_squashfs(image, copied):
    assert image.path
    source = copied.parent / "virtual-decoder" / "fwht_pci.c"
    source.write_text(source.read_text() + f"\n/* {copied} */\n")
    changed = build(copied)
    made = {name for name, about in changed.manifest["steps"].items() if about["made"]}
    assert made == {"virtual-decoder", "virtual-decoder-backports", "squashfs"}
    shutil.rmtree(changed.path)


def test_a_module_that_does_not_compile_is_quoted(image, copied):
    assert image.path
    source = copied.parent / "virtual-decoder" / "fwht_pci.c"
    source.write_text(source.read_text() + f"\nint broken = nowhere; /* {copied} */\n")
    with pytest.raises(Exception, match=r"virtual-decoder failed .*nowhere"):
        build(copied)


def test_a_full_disk_is_said_before_the_build(copied, monkeypatch):
    monkeypatch.setattr(builder, "SPACE", 10**18)
    path = recipe.find(copied)
    wanted = recipe.load(path).model_copy(update={"directories": ["never-built"]})
    with pytest.raises(ConfigError, match=r"no space left .*lab images gc"):
        Build(path, wanted, image_cache()).image()


def test_the_list_marks_the_current_image(image):
    listed = images(image_cache())
    assert [one.image.path for one in listed if one.current] == [image.path]


@pytest.mark.timeout(300)
def test_gc_keeps_what_is_current_or_was_used(image, tmp_path):
    cache = Cache(tmp_path)
    old = cache.step("step", "old", lambda work: None).path
    kept = cache.step("step", "kept", lambda work: None).path
    os.utime(old, (1, 1))
    assert sweep(cache, keep_days=1, dry_run=True).paths == [old]
    assert old.exists()
    assert sweep(cache, keep_days=1).paths == [old]
    assert not old.exists()
    assert kept.exists()
    deadline = time.monotonic() + 240
    while True:
        try:
            real = sweep(image_cache(), keep_days=0, dry_run=True)
            break
        except LabError:  # tests beside this one build, which keeps it out
            assert time.monotonic() < deadline
    assert image.path not in real.paths


def test_shared_files_do_not_count_as_freed(tmp_path):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    (tmp_path / "one" / "file").write_bytes(bytes(100_000))
    (tmp_path / "two" / "file").hardlink_to(tmp_path / "one" / "file")
    alone = freed([tmp_path / "one"])
    assert alone < 100_000 <= freed([tmp_path / "one", tmp_path / "two"])
