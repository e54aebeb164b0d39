"""A fact that is not so is caught, and named with file and line; those that ship are so on both kernels."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from lab.agent.iommu import FAULT_MARKS
from lab.base.errors import ConfigError
from lab.boards import load_target
from lab.boards.checks import State, check, loader
from lab.boards.devicetree import DeviceTree
from lab.boards.target import folder, names
from lab.cli.app import app
from lab.imaging.firmware import UbootFile, uboot

PHYSICAL = [name for name in names() if load_target(name).virtual is None]


@pytest.mark.parametrize("name", names())
def test_every_target_is_right_on_both_kernels(kernels, name):
    report = check(load_target(name), kernels)
    assert [(witness, one.fact, one.says) for witness, one in report.wrong] == []
    assert report.count(State.OK) > 0


@pytest.mark.parametrize("name", PHYSICAL)
def test_each_kernel_was_really_asked(kernels, name):
    report = check(load_target(name), kernels)
    for kernel in kernels:
        facts = {one.fact for one in report.by_witness[kernel.release] if one.state is State.OK}
        assert {"boot.dtb", "boot.console", "compatible"} <= facts
        for decoder in report.target.decoders:
            if decoder.there(kernel.release):
                stem = f"decoders.{decoder.name}"
                asked = ("node", "compatible", "device", "behind_iommu", "module")
                assert {f"{stem}.{key}" for key in asked} <= facts


@pytest.mark.parametrize("name", PHYSICAL)
def test_the_agent_counts_what_the_iommus_driver_says_at_a_fault(name):
    target = load_target(name)
    assert bool(target.iommu.log) == (target.iommu.driver is not None)
    for line in target.iommu.log:
        assert any(mark in line for mark in FAULT_MARKS), line


ROCK = "rk3399-rockpro64"


@pytest.mark.parametrize(
    ("name", "old", "new", "fact", "says"),
    [
        (
            ROCK,
            "rk3399-rockpro64.dtb",
            "rk3399-rockpro65.dtb",
            "boot.dtb",
            "it has rockchip/rk3399-rockpro64",
        ),
        (
            ROCK,
            "compatible: rockchip,rk3399\n",
            "compatible: rockchip,rk3398\n",
            "compatible",
            "rockchip,rk3399",
        ),
        (
            ROCK,
            "node: /video-codec@ff660000",
            "node: /video-codec@ff660001",
            "decoders.rkvdec.node",
            "it has /",
        ),
        (ROCK, "rk3399-vdec", "rk3399-vdek", "decoders.rkvdec.compatible", "is rockchip,rk3399-vdec"),
        (
            ROCK,
            "ff660000.video-codec",
            "ff660000.codec",
            "decoders.rkvdec.device",
            "call it ff660000.video-codec",
        ),
        (
            ROCK,
            "behind_iommu: true",
            "behind_iommu: false",
            "decoders.rkvdec.behind_iommu",
            "tree has /video",
        ),
        (ROCK, '["rockchip,iommu"]', '["rockchip,mmu"]', "iommu.compatible", "is rockchip,iommu"),
        (ROCK, "module: rockchip-vdec", "module: rkvdec", "decoders.rkvdec.module", "is rockchip_vdec"),
        (ROCK, "driver: rkvdec", "driver: rockchip_vdec2", "decoders.rkvdec.driver", "stands nowhere in"),
        (ROCK, "VIDEO_ROCKCHIP_VDEC", "VIDEO_ROCKCHIP_VDEK", "decoders.rkvdec.kconfig", "is not set"),
        (ROCK, "ROCKCHIP_IOMMU", "RK_IOMMU", "iommu.kconfig", "RK_IOMMU is not set"),
        (
            ROCK,
            "Page fault at %pad of",
            "Page faults at %pad of",
            "iommu.log",
            "stands nowhere in the kernel",
        ),
        (ROCK, "console: ttyS2", "console: ttyS0", "boot.console", "serial2:1500000n8 at /serial@ff1a0000"),
        (ROCK, "1500000n8", "115200n8", "boot.console", "serial2:1500000n8"),
        (ROCK, "speed: 1500000", "speed: 115200", "hookup.resources.USBSerialPort.speed", "1500000n8"),
        (ROCK, "node: /gpu@ff9a0000", "node: /gpu@ff9b0000", "gpu.node", "at /gpu@ff9a0000"),
        (ROCK, "compatible: arm,mali-t860", "compatible: arm,mali-t861", "gpu.compatible", "no node is"),
        (ROCK, "module: panfrost", "module: lima", "gpu.module", "is panfrost"),
        (ROCK, "{remove: iommus}", "{disable: [/iommu@ff660481]}", "iommu.modes.off.tree", "nothing of what"),
        (
            ROCK,
            "coded: [H264_SLICE, VP9",
            "coded: [AV1_FRAME, VP9",
            "decoders.rkvdec.coded",
            "has no AV1_FRAME",
        ),
        (
            ROCK,
            "coded: [H264_SLICE, VP9",
            "coded: [H265_SLICE, VP9",
            "decoders.rkvdec.coded",
            "V4L2 has no H265",
        ),
        (ROCK, "raw: [NV12]", "raw: [NV12_4L4]", "decoders.rkvdec.raw", "of this kernel has no NV12_4L4"),
        ("h6-pine-h64", "raw: [NV12, NV12_32L32]", "raw: [NV12, NV21]", "decoders.cedrus.raw", "has no NV21"),
        ("mt8195-nio-12l", "MT2110R", "MT21C, QC08C", "decoders.vcodec.raw", "has no QC08C"),
        ("sdm845-db845c", "parts: [venus-dec]", "parts: [venus-enc]", "decoders.venus.raw", "has no QC"),
        (ROCK, "board: rockpro64-rk3399", "board: rockpro64", "boot.uboot", "it has"),
        (ROCK, "package: u-boot-rockchip", "package: u-boot-rockship", "boot.uboot", "u-boot-rockship"),
        (
            ROCK,
            'prompt: "=> "',
            'prompt: "-> "',
            "targets.main.drivers.UBootDriver.prompt",
            "stands nowhere in it",
        ),
        (
            ROCK,
            "speed: 1500000",
            "speed: 115200",
            "hookup.resources.USBSerialPort.speed",
            "it runs at 1500000 baud",
        ),
        (
            ROCK,
            "  console: ttyS2",
            "  network: [usb start, bootp, dhpc]\n  console: ttyS2",
            "boot.network",
            "has no ['dhpc']",
        ),
        (
            ROCK,
            "  console: ttyS2",
            "  tree: ${fdt_addr}\n  console: ttyS2",
            "boot.tree",
            "not in its environment",
        ),
        ("rpi-4", '  tree: "0x05000000"', '  tree: "${fdt_addr_r}"', "boot.tree", "tree begins at 0x2600000"),
        (ROCK, "panfrost: {}", "panfrst: {}", "modules.panfrst", "the kernel has no module panfrst"),
        (ROCK, "dma_heaps: {}", "dma_heap: {}", "modules.dma_heap", "the kernel has no module dma_heap"),
        (ROCK, "RKUSBLoader:", "RKUSBLodaer:", "hookup.resources.RKUSBLodaer", "did you mean RKUSBLoader"),
        (ROCK, "usb_loader:", "loader:", "hookup.drivers.RKUSBDriver.loader", "takes no 'loader'"),
        (ROCK, "    RKUSBLoader: {match: {ID_PATH: YOURS}}\n", "", "hookup.drivers.RKUSBDriver", "binds to"),
        (ROCK, "SerialDriver:", "SerialDrover:", "targets", "did you mean SerialDriver"),
        (
            "rk3588-rock-5b",
            'since: "7.0"',
            'since: "6.12"',
            "decoders.rkvdec.node",
            "has no /video-codec@fdc38000",
        ),
        ("rk3588-rock-5b", 'since: "7.0"', 'since: "7.9"', "decoders.rkvdec.since", "already"),
        (
            "rk3588-rock-5b",
            "behind_iommu: true #",
            "behind_iommu: false #",
            "decoders.av1.behind_iommu",
            "fdc70000: iommus",
        ),
        (
            "j721s2-am68-sk",
            "in_debian: false # a",
            "in_debian: true # a",
            "decoders.wave5.kconfig",
            "is not set",
        ),
        ("j721s2-am68-sk", 'since: "7.3"', 'since: "7.9"', "gpu.since", "already"),
        ("imx8mq-evk", "kconfig: DRM_ETNAVIV", "kconfig: DRM_VIVANTE", "gpu.kconfig", "is not set"),
        (
            "imx8mq-evk",
            "behind_iommu: false",
            "behind_iommu: true",
            "decoders.g1.behind_iommu",
            "neither iommus",
        ),
        (
            "mt8192-spherion",
            '"mediatek,mtk-vcodec-core": mtk-vcodec-dec-hw',
            '"mediatek,mtk-vcodec-core": mtk-vcodec-enc',
            "decoders.vcodec.helpers.mediatek,mtk-vcodec-core",
            "is mtk_vcodec_dec_hw",
        ),
        (
            "mt8192-spherion",
            "      - /soc/video-codec@16000000/video-codec@25000",
            "      - /soc/video-codec@16000000/video-codec@26000",
            "decoders.vcodec.attached",
            "has no /soc/video-codec@16000000/video-codec@26000",
        ),
        ("mt8183-juniper", "module: mtk_iommu", "module: mtk_iommu_v1", "iommu.module", "is mtk_iommu"),
        (
            "sdm845-db845c",
            "venus-5.2",
            "venus-5.3",
            "decoders.venus.firmware",
            "stands nowhere in venus-core",
        ),
        (
            "sdm845-db845c",
            "device: 15000000.iommu",
            "device: 15000001.iommu",
            "iommu.device",
            "15000000.iommu",
        ),
        (
            "sdm845-db845c",
            "behind_iommu: true # an",
            "behind_iommu: false # an",
            "gpu.behind_iommu",
            "behind an",
        ),
        (
            "h6-pine-h64",
            "disable: [/soc/iommu@30f0000]",
            "disable: [/soc/iommu@30f0001]",
            "iommu.modes.off.tree",
            "",
        ),
        ("g12b-vim3", "/reserved-memory/linux,cma", "/reserved-memory/cma", "cma.node", "has no /reserved"),
        ("rk3588-rock-5b", "arch10.8", "arch10.9", "gpu.firmware", "stands nowhere in panthor"),
        ("virt-smmu", 'packed: "0x50000000"', 'packed: "0x42000000"', "boot.packed", "ends at 0x42"),
        ("virt-cma", 'packed: "0x50000000"', "packed: ${comp_addr}", "boot.packed", "not in its environment"),
        ("rpi-4", "console: ttyS1", "console: ttyAMA0", "boot.console", "serial1:115200n8"),
    ],
)
def test_a_wrong_fact_is_caught_and_named(kernels, tmp_path, name, old, new, fact, says):
    text = (folder() / f"{name}.yaml").read_text()
    assert old in text
    path = tmp_path / f"{name}.yaml"
    path.write_text(text.replace(old, new, 1))
    report = check(load_target(path), kernels)
    found = [one for _, one in report.wrong if one.fact == fact]
    assert found, report.wrong
    assert any(says in one.says for one in found)
    lines = path.read_text().splitlines()
    for one in found:
        line = lines[report.line(one) - 1]
        assert fact.rpartition(".")[2] in line or new.strip() in line


def test_a_u_boot_that_cannot_unpack_a_kernel_is_caught(kernels, tmp_path):
    target = load_target("virt-smmu")
    real = uboot("u-boot-qemu", "qemu_arm64")
    lame = tmp_path / "u-boot.bin"
    lame.write_bytes(real.path.read_bytes().replace(b"unzip\0", b"unzap\0"))
    found = {
        path: [
            one.fact
            for one in loader.findings(target, UbootFile(real.name, path), kernels)
            if one.state is State.WRONG
        ]
        for path in (real.path, lame)
    }
    assert found == {real.path: [], lame: ["boot.packed"]}


@pytest.mark.usefixtures("kernels")
def test_the_command_names_file_line_fact_and_what_the_kernel_has(tmp_path):
    path = tmp_path / "rock.yaml"
    text = (folder() / f"{ROCK}.yaml").read_text()
    path.write_text(text.replace("rk3399-vdec", "rk3399-vdek", 1))
    line = next(n for n, words in enumerate(path.read_text().splitlines(), 1) if "vdek" in words)
    done = CliRunner().invoke(app, ["targets", "check", str(path)])
    assert done.exit_code == 1
    assert f"{path}:{line}: /video-codec@ff660000 is rockchip,rk3399-vdec" in done.stdout
    assert "  ok    boot.dtb" in done.stdout
    data = CliRunner().invoke(app, ["targets", "check", str(path), "--json"])
    assert data.exit_code == 1
    [target] = json.loads(data.stdout)["targets"]
    wrong = [one for one in target["findings"] if one["state"] == "wrong"]
    assert {(one["fact"], one["line"]) for one in wrong} >= {("decoders.rkvdec.compatible", line)}


@pytest.mark.usefixtures("kernels")
def test_the_command_has_a_line_per_target_and_ends_well():
    done = CliRunner().invoke(app, ["targets", "check"])
    assert done.exit_code == 0, done.output
    rows = [line.split()[0] for line in done.stdout.splitlines()[1:] if line]
    assert rows == names()


def test_the_variants_tree_can_be_had_as_a_file(kernels, tmp_path):
    path = tmp_path / "off.dtb"
    words = ["targets", "tree", "rk3399-rockpro64", "--decoder", "hantro", "-o", str(path)]
    done = CliRunner().invoke(app, [*words, "--kernel", "backports"])
    assert done.exit_code == 0, done.output
    assert "fdt rm /video-codec@ff650000 iommus" in done.stdout
    before = DeviceTree.read(kernels[1].dtb("rockchip/rk3399-rockpro64.dtb")).nodes
    after = DeviceTree.read(path).nodes
    changed = {node for node in before if before[node] != after[node]}
    assert changed == {"/video-codec@ff650000"}


@pytest.mark.usefixtures("kernels")
@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["imx8mq-evk"], "imx8mq-evk has no device tree to take an IOMMU out of"),
        (["virt-smmu"], "its tree is its firmware's own"),
        (["rk3399-rockpro64", "--kernel", "vendor"], "there are board, backports"),
        (["rk3399-rockpro64", "--decoder", "venus"], "it has rkvdec, hantro"),
        (["h6-pine-h64", "--decoder", "cedrus"], "IOMMU is disabled as a whole"),
        (["rk3399-rockpro64", "-o", "/nowhere/off.dtb"], "cannot be written"),
    ],
)
def test_a_variant_that_cannot_be_had_says_why(words, says):
    done = CliRunner().invoke(app, ["targets", "tree", *words])
    assert isinstance(done.exception, ConfigError)
    assert says in str(done.exception)
