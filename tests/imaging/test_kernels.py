"""Debian's kernel packages, taken apart: what is asked of them has an answer, however they are packed."""

from __future__ import annotations

import pytest

from lab.base.errors import ConfigError
from lab.imaging import recipe, resolve, toolchain
from lab.imaging.builder import image_cache
from lab.imaging.kernels import KernelFiles, Kernels
from lab.imaging.plan import Keys
from lab.imaging.store import used


def host() -> str:
    return toolchain.host_architecture()


@pytest.fixture(scope="module")
def kernels() -> list[KernelFiles]:
    found = Kernels.of()
    assert found.missing == {}
    return found.found


def test_both_kernels_of_the_recipe_are_there_the_boards_first(kernels):
    assert [kernel.name for kernel in kernels] == ["board", "backports"]
    packages = resolve.find_packages(image_cache(), recipe.load(recipe.find("board-trixie")), host())
    assert kernels[0].release == packages.release
    assert kernels[1].release == packages.kernels["backports"].release


def test_device_trees_are_found_by_the_names_that_the_kernel_gives_them(kernels):
    for kernel in kernels:
        name = "rockchip/rk3399-rockpro64.dtb"
        assert name in kernel.dtbs()
        assert kernel.dtb(name).read_bytes()[:4] == b"\xd0\x0d\xfe\xed"
        with pytest.raises(ConfigError, match=r"has no device tree 'rk3399-rockpro64\.dtb'"):
            kernel.dtb("rk3399-rockpro64.dtb")


def test_drivers_are_found_by_compatible(kernels):
    older, newer = kernels
    for kernel in kernels:
        assert kernel.drivers["rockchip,rk3399-vdec"] == ["rockchip_vdec"]
        assert kernel.drivers["mediatek,mtk-vcodec-core"] == ["mtk_vcodec_dec_hw"]
        assert "rockchip,iommu" not in kernel.drivers, "built in"
        assert kernel.handles("rockchip,iommu")
        assert not kernel.handles("rockchip,iomm"), "whole strings only"
    assert "rockchip,rk3588-vdec" not in older.drivers
    assert newer.drivers["rockchip,rk3588-vdec"] == ["rockchip_vdec"]


def test_options_and_texts(kernels):
    for kernel in kernels:
        assert (kernel.options["MTK_IOMMU"], kernel.options["ROCKCHIP_IOMMU"]) == ("m", "y")
        assert "VIDEO_WAVE_VPU" not in kernel.options
        for module in ("mtk_iommu", "mtk-iommu"):
            assert kernel.says("fault type=0x%x iova=", module)
        assert not kernel.says("fault type=0x%x iova=", None)
        assert not kernel.says("fault type", "no_such_module")


def test_words_are_found_in_tables_and_in_code(kernels):
    older, newer = kernels
    for kernel in kernels:
        assert kernel.knows("S264", "rockchip_vdec"), "in a table"
        assert kernel.knows("MT2T", "mtk_vcodec_dec"), "made by two instructions"
        assert not kernel.says("MT2T", "mtk_vcodec_dec")
        assert not kernel.knows("AV1F", "rockchip_vdec")
    assert not older.knows("NV21", "sunxi_cedrus")
    assert newer.knows("NV21", "sunxi_cedrus")


def test_modules_are_those_of_the_package_and_of_the_recipe(kernels):
    for kernel in kernels:
        assert {"hantro_vpu", "panfrost", "squashfs"} <= kernel.modules
        assert {"fwht_decoder", "dma_heaps"} <= kernel.own <= kernel.modules
    assert "blob_exporter" not in kernels[0].modules
    assert "blob_exporter" in kernels[1].modules


def test_gc_keeps_them(kernels):
    path = recipe.find("board-trixie")
    assert {kernel.path for kernel in kernels} <= set(used(image_cache(), path))
    packages = resolve.find_packages(image_cache(), recipe.load(path), host())
    keys = Keys(recipe.load(path), path.parent, packages)
    assert len({keys.kernel_files(kernel.name) for kernel in kernels}) == 2
