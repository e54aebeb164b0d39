"""libfdt on the device trees that real boards get, out of Debian's kernel packages."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lab.base.errors import ConfigError
from lab.boards import load_target, treefacts, variants
from lab.boards.devicetree import DeviceTree
from lab.boards.facts import TreeEdit
from lab.boards.target import names

PHYSICAL = [name for name in names() if load_target(name).virtual is None]
ROCK = "rockchip/rk3399-rockpro64.dtb"


@pytest.fixture(scope="module")
def rock(kernels):
    return kernels[0].dtb(ROCK).read_bytes()


def flat(tree):
    """Node and property -> value, with the nodes that have none."""
    pairs = {(node, name): value for node, found in tree.nodes.items() for name, value in found.items()}
    return pairs | {(node, None): b"" for node in tree.nodes}


def difference(before, after):
    """What is gone, and what is new or has another value."""
    gone = before.keys() - after.keys()
    return gone, {key: value for key, value in after.items() if before.get(key) != value}


def test_a_tree_comes_back_as_it_went_in(kernels):
    for kernel in kernels:
        for name in (ROCK, "qcom/sdm845-db845c.dtb", "mediatek/mt8395-radxa-nio-12l.dtb"):
            tree = DeviceTree.read(kernel.dtb(name))
            assert DeviceTree(tree.blob()).nodes == tree.nodes


def test_nodes_are_paths_with_their_properties(rock):
    nodes = DeviceTree(rock).nodes
    assert next(iter(nodes)) == "/"
    assert nodes["/chosen"]["stdout-path"] == b"serial2:1500000n8\0"
    assert nodes["/video-codec@ff660000"]["compatible"] == b"rockchip,rk3399-vdec\0"
    assert all(treefacts.parent(path) in nodes for path in nodes)


@given(data=st.data())
@settings(max_examples=30, deadline=None)
def test_removing_a_property_removes_that_one_only(rock, data):
    tree = DeviceTree(rock)
    before = flat(tree)
    node, name = data.draw(st.sampled_from(sorted(key for key in before if key[1] is not None)))
    tree.remove(node, name)
    assert difference(before, flat(DeviceTree(tree.blob()))) == ({(node, name)}, {})


@given(data=st.data())
@settings(max_examples=30, deadline=None)
def test_disabling_a_node_changes_its_status_only(rock, data):
    tree = DeviceTree(rock)
    before = flat(tree)
    node = data.draw(st.sampled_from(sorted(tree.nodes)))
    tree.disable(node)
    gone, new = difference(before, flat(DeviceTree(tree.blob())))
    assert gone == set()
    assert new in ({(node, "status"): b"disabled\0"}, {})
    assert new or before[node, "status"] == b"disabled\0"


def test_what_is_not_there_cannot_be_edited(rock):
    tree = DeviceTree(rock, name="rock")
    with pytest.raises(ConfigError, match="rock: node /nowhere: NOTFOUND"):
        tree.disable("/nowhere")
    with pytest.raises(ConfigError, match="rock: /chosen iommus: NOTFOUND"):
        tree.remove("/chosen", "iommus")


@pytest.mark.parametrize("cut", [0, 3, 40, 1000, -1])
def test_a_damaged_file_is_no_tree(rock, tmp_path, cut):
    path = tmp_path / "cut.dtb"
    path.write_bytes(rock[:cut])
    with pytest.raises(ConfigError, match=r"cut\.dtb: no device tree \([A-Z]+\)"):
        DeviceTree.read(path)
    with pytest.raises(ConfigError, match="cannot be read"):
        DeviceTree.read(tmp_path / "none.dtb")


@pytest.mark.parametrize("name", PHYSICAL)
def test_off_takes_the_stated_properties_away_and_nothing_else(kernels, name):
    """On the board's real tree, of both kernels, compared property by property."""
    target = load_target(name)
    edits = [setup.tree for setup in target.iommu.modes.values() if setup.tree is not None]
    assert bool(edits) == any(d.behind_iommu for d in target.decoders) or target.iommu.driver is None
    for kernel in kernels:
        for edit in edits:
            tree = DeviceTree.read(kernel.dtb(target.boot.dtb))
            before = flat(tree)
            variants.apply(tree, edit, target.decoders)
            gone, new = difference(before, flat(DeviceTree(tree.blob())))
            there = target.at(kernel.release).decoders
            behind = [one for one in there if one.behind_iommu]
            attached = {node for one in behind for node in one.nodes}
            assert gone == ({(node, edit.remove) for node in attached} if edit.remove else set())
            assert new == {(node, "status"): b"disabled\0" for node in edit.disable}
            told = {tuple(words.split()[1:]) for words in variants.commands(edit, behind)}
            removed = {("rm", node, name) for node, name in gone}
            assert told == removed | {("set", node, "status", "disabled") for node in edit.disable}


def test_per_decoder_off_leaves_the_others_attached(kernels):
    target = load_target("rk3399-rockpro64")
    edit = TreeEdit(remove="iommus")
    tree = DeviceTree.read(kernels[0].dtb(ROCK))
    before = flat(tree)
    assert variants.apply(tree, edit, [target.decoder("rkvdec")]) == ["/video-codec@ff660000: iommus removed"]
    assert difference(before, flat(tree)) == ({("/video-codec@ff660000", "iommus")}, {})


def test_a_tree_of_another_board_is_told(kernels):
    tree = DeviceTree.read(kernels[0].dtb("freescale/imx8mq-evk.dtb"))
    with pytest.raises(ConfigError, match="nothing of what 'off' takes away"):
        variants.apply(tree, TreeEdit(remove="iommus"), load_target("rk3399-rockpro64").decoders)


def test_uboots_commands_say_the_same_edit():
    target = load_target("virt-smmu")
    edit = target.iommu.modes["off"].tree
    assert variants.commands(edit, target.decoders) == [
        "fdt rm /pcie@10000000 iommu-map",
        "fdt set /smmuv3@9050000 status disabled",
    ]


def test_addresses_are_translated_as_linux_does(kernels):
    """Names of devices that Linux gave on real boards."""
    imx = DeviceTree.read(kernels[0].dtb("freescale/imx8mq-evk.dtb")).nodes
    assert treefacts.device_name(imx, "/soc@0/video-codec@38300000") == "38300000.video-codec"
    pi = DeviceTree.read(kernels[0].dtb("broadcom/bcm2711-rpi-4-b.dtb")).nodes
    [gpu] = treefacts.find(pi, "brcm,2711-v3d")  # its bus is at another place for the CPU
    assert treefacts.device_name(pi, gpu) == "fec00000.gpu"
    assert treefacts.device_name(pi, "/chosen") is None


def test_iommus_of_several_cells_are_told_apart(kernels):
    nodes = DeviceTree.read(kernels[0].dtb("qcom/sdm845-db845c.dtb")).nodes
    found = treefacts.providers(nodes, "/soc@0/video-codec@aa00000")
    assert found == {"iommus": ["/soc@0/iommu@15000000"]}
