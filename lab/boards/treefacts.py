"""What Linux makes of a device tree: devices' names and addresses, who is behind which IOMMU, the console."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from lab.boards.devicetree import Nodes, Properties

WORD = 4
"""Bytes of a cell."""


def words(value: bytes) -> list[int]:
    """The cells of a property."""
    return [int.from_bytes(value[at : at + WORD], "big") for at in range(0, len(value), WORD)]


def strings(value: bytes) -> list[str]:
    """The strings of a property."""
    return [text.decode(errors="replace") for text in value.split(b"\0")[:-1]]


def text(properties: Properties, name: str) -> str:
    """The first string of a property, empty where it is not there."""
    return next(iter(strings(properties.get(name, b""))), "")


def parent(path: str) -> str:
    """The path of the node that ``path`` is in."""
    return path.rpartition("/")[0] or "/"


def compatibles(nodes: Nodes, path: str) -> list[str]:
    """What the node is compatible with, the most special one first."""
    return strings(nodes[path].get("compatible", b""))


def find(nodes: Nodes, compatible: str) -> list[str]:
    """The nodes that are compatible with it."""
    return [path for path in nodes if compatible in compatibles(nodes, path)]


def enabled(nodes: Nodes, path: str) -> bool:
    """Whether Linux makes a device of it: neither it nor a node above it is disabled."""
    while path != "/":
        if text(nodes[path], "status") not in ("", "ok", "okay"):
            return False
        path = parent(path)
    return True


def providers(nodes: Nodes, path: str) -> dict[str, list[str]]:
    """``iommus`` and ``iommu-map`` of a node, those that it has -> the nodes of the IOMMUs they name.

    Sources: Linux, drivers/iommu/of_iommu.c; bindings iommu.txt and pci-iommu.txt.
    """
    handles = {words(one["phandle"])[0]: node for node, one in nodes.items() if "phandle" in one}
    found: dict[str, list[str]] = {}
    if "iommus" in nodes[path]:
        cells = words(nodes[path]["iommus"])
        named = found["iommus"] = []
        while cells:
            node = handles.get(cells[0], "?")
            named.append(node)
            arguments = words(nodes.get(node, {}).get("#iommu-cells", bytes(WORD)))[0]
            cells = cells[1 + arguments :]
    if "iommu-map" in nodes[path]:  # (first id, IOMMU, first id there, how many) each
        found["iommu-map"] = [handles.get(cell, "?") for cell in words(nodes[path]["iommu-map"])[1::4]]
    return {name: list(dict.fromkeys(named)) for name, named in found.items()}


def device_name(nodes: Nodes, path: str) -> str | None:
    """The name of the node's device on the platform bus; None where its address does not tell.

    Source: Linux, drivers/of/platform.c of_device_make_bus_id.
    """
    address = _address(nodes, path)
    name = path.rpartition("/")[2].partition("@")[0]
    return None if address is None else f"{address:x}.{name}"


def _address(nodes: Nodes, path: str) -> int | None:
    """The first address of a node as the CPU sees it (Linux, drivers/of/address.c of_translate_address)."""
    reg = nodes[path].get("reg")
    if not reg or path == "/":
        return None
    bus = parent(path)
    address = _number(words(reg)[: _cells(nodes, bus, "#address-cells", 2)])
    while bus != "/":
        ranges = nodes[bus].get("ranges")
        if ranges is None:
            return None
        if ranges:
            translated = [
                to + address - begin for begin, to, size in _ranges(nodes, bus) if 0 <= address - begin < size
            ]
            if not translated:
                return None
            address = translated[0]
        bus = parent(bus)
    return address


def _ranges(nodes: Nodes, bus: str) -> Iterator[tuple[int, int, int]]:
    """(first address on the bus, the same one level up, bytes) of each range."""
    child = _cells(nodes, bus, "#address-cells", 2)
    above = _cells(nodes, parent(bus), "#address-cells", 2)
    size = _cells(nodes, bus, "#size-cells", 1)
    cells = words(nodes[bus]["ranges"])
    for at in range(0, len(cells), child + above + size):
        one = cells[at : at + child + above + size]
        yield _number(one[:child]), _number(one[child : child + above]), _number(one[child + above :])


def _cells(nodes: Nodes, path: str, name: str, default: int) -> int:
    value: Mapping[str, bytes] = nodes[path]
    return words(value[name])[0] if name in value else default


def _number(cells: list[int]) -> int:
    value = 0
    for cell in cells:
        value = value << 32 | cell
    return value


def console(nodes: Nodes) -> tuple[str, str, str] | None:
    """The console that the tree names: its node, the alias "serialN" of that, its options ("115200n8").

    None without one; options or alias may be empty. Source: Linux, drivers/of/base.c of_alias_scan.
    """
    node, _, options = text(nodes.get("/chosen", {}), "stdout-path").partition(":")
    aliases = {name: text(nodes["/aliases"], name) for name in nodes.get("/aliases", {})}
    if not node:
        return None
    node = aliases.get(node, node)
    alias = next((name for name, path in aliases.items() if path == node and name.startswith("serial")), "")
    return node, alias, options
