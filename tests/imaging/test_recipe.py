import pytest

from lab.base.errors import ConfigError
from lab.imaging import recipe

GOOD = """\
suite: trixie
packages: [busybox-static]
kernel:
  package: linux-image-arm64
  source: linux-source-6.12
  compiler: gcc-14
  initrd_modules: {root: [virtio_blk]}
uboot: {package: u-boot-qemu, file: usr/lib/u-boot.bin}
modules:
  - source: driver
overlay: overlay
initramfs: initramfs
"""


@pytest.fixture
def written(tmp_path):
    for name in ("overlay", "initramfs", "driver"):
        (tmp_path / name).mkdir()
    (tmp_path / "driver" / "Kbuild").write_text("obj-m := driver.o\n")

    def write(text=GOOD):
        path = tmp_path / "image.yaml"
        path.write_text(text)
        return path

    return write


def test_every_recipe_of_the_checkout_is_right():
    found = recipe.find("board-trixie")
    loaded = recipe.load(found)
    assert "linux-image-arm64" in loaded.all_packages()


def test_a_good_recipe(written):
    assert recipe.load(written()).modules[0].source == "driver"


def test_what_comes_from_other_suites(written):
    extra = """\
extra_kernels:
  - {name: new, suite: trixie-backports, package: linux-image-arm64}
extra_roots:
  - {prefix: opt/qemu, suite: trixie-backports, packages: [qemu-system-arm], links: {usr/bin/own: ../..}}
"""
    text = GOOD.replace("source: driver", "source: driver\n    kernels: [new]") + extra
    loaded = recipe.load(written(text))
    assert loaded.extra_suites() == ["trixie-backports"]
    assert loaded.modules[0].kernels == ["new"]


@pytest.mark.parametrize(
    ("old", "new", "line", "message"),
    [
        ("suite: trixie", "suit: trixie", 1, "suit"),
        ("  compiler: gcc-14\n", "", 3, "kernel.compiler' is missing"),
        ("source: driver", "source: nowhere", 10, "nowhere/Kbuild does not exist"),
        ("source: driver", "source: driver\n    kernels: [board, new]", 11, "no kernel 'new', only board"),
        ("source: driver", "source: driver\n    kernels: []", 11, "kernels"),
        ("overlay: overlay", "overlay: ../etc", 11, "without '..'"),
        ("overlay: overlay", "overlay: /etc", 11, "below its root"),
        ("initramfs: initramfs", "initramfs: none", 12, "none does not exist"),
        ("[busybox-static]", "['no; rm']", 2, "packages.0"),
        ("[busybox-static]", "[]", 2, "packages"),
        ("suite: trixie", "suite: trixie\ncompression: best", 2, "compression"),
        ("suite: trixie", "suite: trixie\nsuite: sid", 2, "stands twice"),
        ("suite: trixie", "suite: [trixie", 2, ""),
    ],
)
def test_a_bad_recipe_names_file_line_and_key(written, old, new, line, message):
    path = written(GOOD.replace(old, new))
    with pytest.raises(ConfigError) as caught:
        recipe.load(path)
    assert caught.value.file == path
    assert caught.value.line == line
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_unknown_image_names_those_there_are():
    with pytest.raises(ConfigError, match=r"unknown image 'none'.*board-trixie"):
        recipe.find("none")


def test_a_path_that_is_not_there(tmp_path):
    with pytest.raises(ConfigError, match="no such recipe"):
        recipe.find(tmp_path / "none.yaml")


def test_an_unreadable_recipe(written):
    path = written()
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="cannot be read"):
        recipe.load(path)
