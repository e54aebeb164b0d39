"""The facts about nodes, against the board's device tree in the kernel's package."""

from __future__ import annotations

from collections.abc import Iterator

from lab.base.errors import ConfigError
from lab.boards import treefacts, variants
from lab.boards.checks.finding import Finding, State, ok, settle, wrong
from lab.boards.devicetree import DeviceTree, Nodes
from lab.boards.facts import Decoder, Gpu
from lab.boards.target import Target


def findings(target: Target, tree: DeviceTree, release: str) -> Iterator[Finding]:
    """Every fact about ``tree``, which the kernel ``release`` brings for the target's board."""
    nodes = tree.nodes
    root = treefacts.compatibles(nodes, "/")
    if target.compatible is not None:
        said = f"compatible with {', '.join(root)}"
        yield settle("compatible", target.compatible in root, said, f"the tree is {said}")
    yield from _console(target, nodes)
    for decoder in target.decoders:
        yield from _decoder(decoder.at(release), nodes, release, target.iommu.compatible)
    yield from _iommu(target, nodes)
    if target.gpu is not None:
        yield from _gpu(target.gpu, nodes, release)
    if target.cma.node is not None:
        yield _there("cma.node", target.cma.node, nodes)
    yield from _off(target, tree)


def _there(fact: str, node: str, nodes: Nodes, *, like: str = "") -> Finding:
    if node in nodes:
        return ok(fact, "is there")
    others = treefacts.find(nodes, like) if like else []
    return wrong(fact, f"the tree has no {node}" + (f", it has {', '.join(others)}" if others else ""))


def _console(target: Target, nodes: Nodes) -> Iterator[Finding]:
    console, _, options = target.boot.console.partition(",")
    found = treefacts.console(nodes)
    if found is None:
        yield wrong("boot.console", "the tree names no console (chosen/stdout-path)")
        return
    node, alias, tree_options = found
    where = f"{alias or 'no alias'}{':' if tree_options else ''}{tree_options} at {node}"
    number = console[len(console.rstrip("0123456789")) :]
    agrees = alias == f"serial{number}" and (not tree_options or options in ("", tree_options))
    yield settle("boot.console", agrees, where, f"the tree's console is {where}, not {target.boot.console}")
    speed = target.serial_speed
    if speed is None:
        return
    fact = "hookup.resources.USBSerialPort.speed"
    if tree_options:
        said = f"the tree says {tree_options}"
        yield settle(fact, tree_options.startswith(f"{speed}n"), said, said)
    else:
        yield Finding(fact, State.OPEN, "the tree gives the console no speed: the firmware sets it")


def _decoder(decoder: Decoder, nodes: Nodes, release: str, iommus: tuple[str, ...]) -> Iterator[Finding]:
    fact = f"decoders.{decoder.name}"
    if decoder.node is None:
        return
    if not decoder.there(release):
        found = treefacts.find(nodes, decoder.compatible or "")
        said = f"not in the tree before {decoder.since}"
        yield settle(f"{fact}.since", not found, said, f"the tree has {', '.join(found)} already")
        return
    yield _there(f"{fact}.node", decoder.node, nodes, like=decoder.compatible or "")
    if decoder.node not in nodes:
        return
    if not treefacts.enabled(nodes, decoder.node):
        yield wrong(f"{fact}.node", f"{decoder.node} is disabled in this board's tree")
    if decoder.compatible is not None:
        has = treefacts.compatibles(nodes, decoder.node)
        said = f"{decoder.node} is {', '.join(has)}"
        yield settle(f"{fact}.compatible", decoder.compatible in has, said, said)
    for helper in decoder.helpers:
        found = [node for node in treefacts.find(nodes, helper) if node.startswith(f"{decoder.node}/")]
        said = f"at {', '.join(found)}"
        yield settle(f"{fact}.helpers.{helper}", bool(found), said, f"the tree has none below {decoder.node}")
    device = treefacts.device_name(nodes, decoder.node)
    yield settle(f"{fact}.device", device == decoder.device, str(device), f"Linux will call it {device}")
    for node in decoder.attached:
        yield _there(f"{fact}.attached", node, nodes)
    yield _attachment(fact, decoder, nodes, iommus)


def _attachment(fact: str, decoder: Decoder, nodes: Nodes, iommus: tuple[str, ...]) -> Finding:
    """Every attached node is behind an IOMMU of the stated kind, or none of them behind any."""
    fact = f"{fact}.behind_iommu"
    found = {node: treefacts.providers(nodes, node) for node in decoder.nodes if node in nodes}
    names = [f"{node}: {', '.join(named)}" for node, named in found.items() if named]
    if not decoder.behind_iommu:
        return settle(fact, not names, "no iommus, no iommu-map", f"the tree has {'; '.join(names)}")
    bare = [node for node, named in found.items() if not named]
    if bare:
        return wrong(fact, f"{', '.join(bare)} has neither iommus nor iommu-map")
    behind = {one for named in found.values() for some in named.values() for one in some}
    other = sorted(one for one in behind if not set(treefacts.compatibles(nodes, one)) & set(iommus))
    if iommus and other:
        said = "; ".join(f"{one} is {', '.join(treefacts.compatibles(nodes, one))}" for one in other)
        return wrong("iommu.compatible", said)
    return ok(fact, f"{'; '.join(names)} -> {', '.join(sorted(behind))}")


def _iommu(target: Target, nodes: Nodes) -> Iterator[Finding]:
    kinds = target.iommu.compatible
    if not kinds:
        return
    counts = {kind: len(treefacts.find(nodes, kind)) for kind in kinds}
    said = "; ".join(f"{kind}: {count}" for kind, count in counts.items() if count)
    yield settle("iommu.compatible", any(counts.values()), said, f"no node is {' or '.join(kinds)}")
    if target.iommu.device is not None:
        found = [node for kind in kinds for node in treefacts.find(nodes, kind)]
        devices = sorted({str(treefacts.device_name(nodes, node)) for node in found})
        agrees = target.iommu.device in devices
        said = ", ".join(devices)
        yield settle("iommu.device", agrees, target.iommu.device, f"Linux will call them {said}")


def _gpu(gpu: Gpu, nodes: Nodes, release: str) -> Iterator[Finding]:
    if gpu.compatible is None:
        return
    found = treefacts.find(nodes, gpu.compatible)
    if not gpu.there(release):
        yield settle(
            "gpu.since", not found, f"not in the tree before {gpu.since}", f"the tree has {found} already"
        )
        return
    yield settle("gpu.compatible", bool(found), ", ".join(found), f"no node is {gpu.compatible}")
    if gpu.node is not None:
        yield settle("gpu.node", gpu.node in found, "is there", f"the tree has it at {', '.join(found)}")
    if found:
        behind = any(treefacts.providers(nodes, node) for node in found)
        said = "behind an IOMMU" if behind else "behind no IOMMU of the tree"
        yield settle("gpu.behind_iommu", behind == gpu.behind_iommu, said, f"it is {said}")


def _off(target: Target, tree: DeviceTree) -> Iterator[Finding]:
    """The edit of each mode finds what it takes away, and takes away no more."""
    for mode, setup in target.iommu.modes.items():
        if setup.tree is None:
            continue
        fact = f"iommu.modes.{mode}.tree"
        edited = DeviceTree(tree.blob())
        try:
            done = variants.apply(edited, setup.tree, target.decoders)
        except ConfigError as error:
            yield wrong(fact, error.message)
            continue
        missing = [node for node in setup.tree.disable if node not in tree.nodes]
        if missing:
            yield wrong(fact, f"the tree has no {', '.join(missing)}")
        else:
            yield ok(fact, "; ".join(done))
