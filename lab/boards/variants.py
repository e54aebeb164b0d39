"""The device tree of a boot without an IOMMU: one edit, carried out by libfdt or by U-Boot."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from lab.base.errors import ConfigError
from lab.boards.devicetree import DeviceTree
from lab.boards.facts import Decoder, TreeEdit


def apply(tree: DeviceTree, edit: TreeEdit, decoders: Iterable[Decoder]) -> list[str]:
    """Carry ``edit`` out on ``tree`` and say what was done, in words.

    A node or a property that this tree lacks is left out: trees of different kernels are not the same,
    and the board says after its boot whether the mode was reached. Raises ConfigError where nothing is left.
    """
    done = []
    for node in _nodes(decoders):
        if edit.remove is not None and edit.remove in tree.nodes.get(node, {}):
            tree.remove(node, edit.remove)
            done.append(f"{node}: {edit.remove} removed")
    for node in edit.disable:
        if node in tree.nodes:
            tree.disable(node)
            done.append(f"{node}: disabled")
    if not done:
        raise ConfigError(
            "the device tree has nothing of what 'off' takes away", hint="is it the tree of this board?"
        )
    return done


def commands(edit: TreeEdit, decoders: Iterable[Decoder]) -> list[str]:
    """U-Boot's commands for ``edit``, on the tree that its ``fdt addr`` was given."""
    removed = [f"fdt rm {node} {edit.remove}" for node in _nodes(decoders)] if edit.remove else []
    return [*removed, *(f"fdt set {node} status disabled" for node in edit.disable)]


def words(edit: TreeEdit, decoders: Iterable[Decoder]) -> list[str]:
    """What ``edit`` asks for, whether a tree has it or not."""
    removed = [f"{node}: {edit.remove} removed" for node in _nodes(decoders)] if edit.remove else []
    return [*removed, *(f"{node}: disabled" for node in edit.disable)]


def _nodes(decoders: Iterable[Decoder]) -> Iterator[str]:
    """The attached nodes, each once: several decoders may hang on one bus."""
    yield from dict.fromkeys(node for decoder in decoders for node in decoder.nodes)
