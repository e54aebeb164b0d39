"""Target files: what is accepted, and what a user is told about the rest."""

from __future__ import annotations

from pathlib import Path

import pytest

from lab.base.errors import ConfigError
from lab.base.words import IommuMode
from lab.boards import load_target
from lab.boards.target import folder, names

GOOD = (folder() / "virt-smmu.yaml").read_text()


def variant(tmp_path: Path, old: str, new: str) -> Path:
    """The good target with one text replaced."""
    assert GOOD.count(old) >= 1, old
    path = tmp_path / "variant.yaml"
    path.write_text(GOOD.replace(old, new, 1))
    return path


def line_with(path: Path, text: str) -> int:
    return next(number for number, line in enumerate(path.read_text().splitlines(), 1) if text in line)


def test_the_virtual_targets_are_there_and_labgrid_takes_them():
    assert {"virt-smmu", "virt-cma", "virt-dma32"} <= set(names())
    for name in names():
        assert load_target(name).check().name == name


def test_modes_of_the_virtual_targets():
    smmu = load_target("virt-smmu")
    assert set(smmu.modes) == set(IommuMode)
    assert smmu.default_modes == [IommuMode.TRANSLATED, IommuMode.PASSTHROUGH, IommuMode.OFF]
    assert load_target("virt-cma").modes == load_target("virt-dma32").modes == [IommuMode.OFF]


@pytest.mark.parametrize("name", [name for name in names() if load_target(name).virtual])
def test_virtual_decoders_agree_with_the_machine(name):
    """Mask and slot stand twice: for the driver, and for QEMU's device."""
    target = load_target(name)
    devices = [device for device in target.virtual["devices"] if device.startswith("edu,")]
    for decoder, device in zip(target.decoders, devices, strict=True):
        words = dict(word.partition("=")[::2] for word in device.split(",")[1:])
        assert decoder.device == f"0000:00:{int(words['addr'], 0):02x}.0"
        assert (1 << decoder.address_bits) - 1 == int(words.get("dma_mask", "0xfffffff"), 0)
    bits = target.modules["fwht_decoder"]["address_bits"]
    assert list(bits) == [decoder.dma_mask for decoder in target.decoders]


@pytest.mark.parametrize("name", names())
def test_decoders_can_be_the_keys_of_a_table(name):
    """Of runs' own tables, for one: `lab.runs.beside` starts a program for each."""
    decoders = load_target(name).decoders
    assert len(dict.fromkeys(decoders)) == len(decoders)


def test_unknown_target_names_the_known_ones():
    with pytest.raises(
        ConfigError, match=r"unknown target 'virt-smm'.*virt-cma, virt-dma32, virt-netroot, virt-smmu"
    ):
        load_target("virt-smm")


def test_unknown_mode_names_the_ones_that_the_target_has():
    with pytest.raises(ConfigError, match=r"target virt-cma has no IOMMU mode 'translated': it has off$"):
        load_target("virt-cma").mode("translated")
    with pytest.raises(ConfigError, match="no IOMMU mode 'on'"):
        load_target("virt-smmu").mode("on")


def test_unknown_decoder_names_the_ones_that_the_target_has():
    with pytest.raises(ConfigError, match="no decoder 'broad': it has wide, narrow"):
        load_target("virt-smmu").decoder("broad")


def test_a_target_is_what_the_kernel_makes_of_it():
    rock = load_target("rk3588-rock-5b")
    assert [decoder.name for decoder in rock.at("6.12.117+deb13-arm64").decoders] == ["vpu121", "av1"]
    assert [decoder.name for decoder in rock.at("7.3.4").decoders] == ["rkvdec", "vpu121", "av1"]
    assert not rock.at("6.12.117").decoder("av1").behind_iommu
    assert rock.at("7.10.0").decoder("av1").behind_iommu, "versions are compared as numbers"
    rkvdec = load_target("rk3399-rockpro64").decoder("rkvdec")
    assert "HEVC_SLICE" not in rkvdec.at("6.12.117").coded
    assert "HEVC_SLICE" in rkvdec.at("7.3.4").coded
    assert rock.at("7.3.4").error(("soc",), "x").line == rock.error(("soc",), "x").line


@pytest.mark.parametrize(
    ("old", "new", "at", "says"),
    [
        ("  kvm: platform", "  kmv: platform", "  kmv:", "the file states no 'kmv'"),
        (
            "  kvm: platform",
            "  decoders.rkvdek.size: x\n  kvm: platform",
            "rkvdek",
            "no 'decoders.rkvdek.size'",
        ),
        ("tree: {remove: iommus}", "tree: {by: u-boot}", "tree:", "remove or disable"),
        ("tree: {remove: iommus}", "tree: {remove: iommu}", "tree:", "iommu.modes.off.tree.remove"),
        ("example: [3133440]", "example: [2073600]", "2073600", "at least 3110400 bytes"),
        ("node: /video-codec@ff650000", "node: video-codec", "node: video-codec", "decoders.1.node"),
        ('      "7.3":\n', '      "7.3.4":\n', '"7.3.4":', "decoders.0.kernels"),
    ],
)
def test_mistakes_in_a_real_boards_facts_are_told_with_their_line(tmp_path, old, new, at, says):
    text = (folder() / "rk3399-rockpro64.yaml").read_text()
    assert old in text
    path = tmp_path / "mine.yaml"
    path.write_text(text.replace(old, new, 1))
    with pytest.raises(ConfigError) as caught:
        load_target(path)
    assert says in str(caught.value)
    assert caught.value.line == line_with(path, at)


def test_a_board_without_decoders_says_why(tmp_path):
    text = (folder() / "rpi-4.yaml").read_text()
    path = tmp_path / "mine.yaml"
    start, end = text.index("no_decoder:"), text.index("notes:")
    path.write_text(text[:start] + text[end:])
    with pytest.raises(ConfigError, match="a board has decoders, or a reason to have none"):
        load_target(path)


def test_bare_off_is_the_mode_off(tmp_path):
    path = tmp_path / "variant.yaml"
    path.write_text(GOOD.replace('"off"', "off"))
    assert load_target(path).modes == load_target("virt-smmu").modes
    assert load_target(path).default_modes == load_target("virt-smmu").default_modes


@pytest.mark.parametrize(
    ("old", "new", "at", "says"),
    [
        ("contiguous:", "contigous:", "contigous:", "unknown key 'decoders.0.contigous'"),
        ("dma_mask: 32", "dma_mask: 65", "dma_mask: 65", "decoders.0.dma_mask"),
        ("dma_mask: 32", "dma_mask: wide", "dma_mask: wide", "decoders.0.dma_mask"),
        ("  device: 9050000", "  devcie: 9050000", "devcie", "unknown key 'iommu.devcie'"),
        ("soc: qemu-virt\n", "", None, "key 'soc' is missing"),
        ("memory: 3G", "memory: 3 GB", "memory: 3 GB", "memory"),
        ("memory: 3G", "memory: 4G", None, "memory is 4G, but virtual.memory is 3G"),
        ("name: narrow", "name: wide", None, "two decoders have the same name"),
        ("lazy:", "slow:", None, "translated"),
        ("  main:", "  other:", None, "targets has no 'main'"),
        ("silence: 25", "silence: 0", "silence: 0", "boot.timeouts.silence"),
        ("[translated, passthrough", "[translated, nothing", None, "iommu.default"),
        ("soc: qemu-virt", "soc: [qemu", None, ""),
        ("soc: qemu-virt", "soc: a\nsoc: b", "soc: b", "'soc' stands twice"),
    ],
)
def test_faults_of_our_part_are_told_with_file_and_line(tmp_path, old, new, at, says):
    path = variant(tmp_path, old, new)
    with pytest.raises(ConfigError) as caught:
        load_target(path)
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith(f"{path}:{line_with(path, at)}: " if at else f"{path}:")
    assert says in message


@pytest.mark.parametrize(
    ("old", "new", "at", "says"),
    [
        (
            "SerialDriver: {}",
            "SerialDriwer: {}",
            "SerialDriwer",
            "no driver class 'SerialDriwer': did you mean SerialDriver",
        ),
        ("RemotePlace:", "RemotePlase:", "RemotePlase", "no resource class 'RemotePlase'"),
        ("{delay: 0.0}", "{dealy: 0.0}", "dealy", "NetworkPowerDriver takes no 'dealy' (known: delay)"),
        ("login_timeout: 10", "login_timeout: ten", "ten", "UBootDriver.login_timeout cannot be 'ten' (str)"),
        (
            "connection_timeout: 15.0",
            "connection_timeout: 15",
            "SSHDriver",
            "SSHDriver.connection_timeout cannot be 15 (int)",
        ),
        ("{name: !template $LG_PLACE}", "3", "RemotePlace: 3", "arguments must be a mapping"),
        ("SerialDriver: {}", "SerialDriver:", "SerialDriver:", "arguments must be a mapping"),
        (
            "RemotePlace: {name: !template $LG_PLACE}",
            "NetworkService: {address: a}",
            "NetworkService",
            "needs 'username'",
        ),
        ("[lab.boards.strategy]", "[lab.boards.stratgy]", "stratgy", "cannot import lab.boards.stratgy"),
    ],
)
def test_faults_of_labgrids_part_are_told_with_file_and_line(tmp_path, old, new, at, says):
    path = variant(tmp_path, old, new)
    target = load_target(path)
    with pytest.raises(ConfigError) as caught:
        target.check()
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith(f"{path}:{line_with(path, at)}: ")
    assert says in message


def test_labgrid_lists_are_checked_too(tmp_path):
    path = variant(tmp_path, "      SerialDriver: {}\n", "")
    text = path.read_text()
    start, end = text.index("    drivers:"), text.index("imports:")
    listed = "    drivers:\n    - NetworkPowerDriver: {}\n    - cls: SerialDriver\n      txdealy: 0.1\n\n"
    path.write_text(text[:start] + listed + text[end:])
    with pytest.raises(ConfigError, match=r"variant.yaml:\d+: SerialDriver takes no 'txdealy'") as caught:
        load_target(path).check()
    assert caught.value.line == line_with(path, "txdealy")


def test_missing_file_is_told(tmp_path):
    with pytest.raises(ConfigError, match="no such file"):
        load_target(tmp_path / "none.yaml")


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("kind: qemu", "kind: xen", "vmm.kind"),
        ("backing: hugetlb", "backing: thp", "vmm.backing"),
        ("gpu: blob", "gpu: venus", "vmm.gpu"),
        ("{kind: qemu, memory: 512M", "{kind: qemu, memory: 512", "vmm.memory"),
        ("kind: qemu", "kidn: qemu", "kidn"),
    ],
)
def test_mistakes_in_the_vmm_section_are_told_with_their_line(tmp_path, old, new, said):
    path = variant(tmp_path, old, new)
    with pytest.raises(ConfigError, match=said) as caught:
        load_target(path)
    assert caught.value.line == line_with(path, "vmm:")
