"""What ``lab targets show`` prints: a target's facts for a person, with what of them is not verified."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import yaml

from lab.base import ui
from lab.boards import formats, uboot, variants
from lab.boards.facts import Decoder
from lab.boards.target import Target
from lab.cli.bench import bench_of

Line = tuple[str, str]
"""Label, empty where the one above goes on, and text."""


def lines(target: Target) -> Iterator[Line]:
    """The facts, line by line."""
    yield "file", str(target.path)
    if target.also:
        yield "fits also", ", ".join(target.also)
    if target.no_decoder:
        yield "decoder", f"none: {target.no_decoder}"
    for decoder in target.decoders:
        yield from _decoder(target, decoder)
    yield from _iommu(target)
    yield from _rest(target)
    yield from _hookup(target)
    for index, note in enumerate(target.notes):
        yield "" if index else "note", note
    for index, (fact, basis) in enumerate(target.unverified.items()):
        yield "" if index else "unverified", f"{fact}: {basis}"


def asked(name: str, coordinator: str | None) -> tuple[Target, dict[str, Any]]:
    """Boot the board called ``name``, a place of the user's or a virtual target; then it is off again.

    Returns its target, and its decoders as they are: device -> what the agent found (``node``, ``driver``,
    ``mplane``, ``formats``). Raises ConfigError for another name, LabError where the board does not boot.
    """
    with bench_of(name, coordinator) as bench:
        with ui.task(f"board {bench.name}"):
            bench.boot(bench.target.default_modes[0])
            bench.start_agent()
        bench.load_modules()
        agent = bench.asked()
        found = {one["device"]: dict(one) for one in agent.call("decoders")}
        for one in found.values():
            one["formats"] = agent.call("decoder_formats", node=one["node"])
        return bench.target, found


def said(target: Target, found: Mapping[str, Any]) -> Iterator[Line]:
    """What the board's decoders said of their formats."""
    names = {decoder.device: decoder.name for decoder in target.decoders}
    for device, one in found.items():
        planes = "multi-planar" if one["mplane"] else "single-planar"
        name = names.get(device, "not in the target's file")
        yield "board says", f"{name}: {one['driver']} at {device}, {one['formats']['api']}, {planes}"
        yield from (("", f"  {line}") for line in formats.lines(one["formats"]))
    for device in names.keys() - found.keys():
        yield "board says", f"{names[device]}: no driver has a video node for {device}"


def _marked(target: Target, fact: str) -> str:
    return " (unverified)" if fact in target.unverified else ""


def _decoder(target: Target, decoder: Decoder) -> Iterator[Line]:
    words = [
        decoder.api or "",
        f"DMA mask {decoder.mask}" if decoder.mask else f"{decoder.dma_mask}-bit DMA mask",
        "contiguous memory" if decoder.contiguous else "scattered memory",
        "behind the IOMMU" if decoder.behind_iommu else "no IOMMU before it",
        f"{'/'.join(decoder.coded)} to {'/'.join(decoder.raw)}",
    ]
    marked = _marked(target, f"decoders.{decoder.name}")
    since = f" since {decoder.since}" if decoder.since else ""
    debian = "" if decoder.in_debian else f", not in Debian's kernels ({decoder.kconfig} is not set)"
    found = f"{decoder.name} ({decoder.driver} at {decoder.device}{since}{debian}){marked}"
    yield "decoder", f"{found}: {', '.join(word for word in words if word)}"
    if decoder.step is not None:
        yield "", f"  steps {_steps(decoder)}{_marked(target, f'decoders.{decoder.name}.step')}"
    if decoder.size is not None:
        example = f"; 1920x1080: {' + '.join(map(str, decoder.size.example))}" if decoder.size.example else ""
        marked = _marked(target, f"decoders.{decoder.name}.size")
        yield "", f"  size {decoder.size.rule}{example}{marked}"
    if decoder.firmware:
        yield "", f"  firmware {', '.join(decoder.firmware)}"
    for series, other in decoder.kernels.items():
        changed = other.model_dump(exclude_none=True, mode="json")
        yield "", f"  from {series}: {yaml.safe_dump(changed, default_flow_style=True, width=1000).strip()}"
    for note in decoder.notes:
        yield "", f"  {note}"


def _steps(decoder: Decoder) -> str:
    if isinstance(decoder.step, dict):
        return ", ".join(f"{coded} {width}x{height}" for coded, (width, height) in decoder.step.items())
    assert decoder.step is not None
    return "{}x{}".format(*decoder.step)


def _iommu(target: Target) -> Iterator[Line]:
    iommu = target.iommu
    place = f" ({iommu.device})" if iommu.device else ""
    where = f": {iommu.attachment}" if iommu.attachment else ""
    yield "iommu", f"{iommu.driver or 'none'}{place}{where}"
    for label, text in (("group", iommu.group), ("without it", iommu.off_effect)):
        if text:
            yield "", f"  {label}: {text}"
    for log in iommu.log:
        yield "", f"  at a fault: {log}"
    width = max(len(mode) for mode in target.modes)
    for mode, setup in iommu.modes.items():
        by_default = "*" if mode in target.default_modes else " "
        marked = _marked(target, f"iommu.modes.{mode}")
        yield "", f"{by_default} {mode:<{width}}  {uboot.bootargs(target.boot, setup)}{marked}"
        if setup.tree is None:
            continue
        if setup.tree.by == "u-boot":
            for command in variants.commands(setup.tree, target.decoders):
                yield "", f"  {'':<{width}}  U-Boot: {command}"
        else:
            for edit in variants.words(setup.tree, target.decoders):
                yield "", f"  {'':<{width}}  tree: {edit}"
    yield "", "* by default, without --iommu"


def _rest(target: Target) -> Iterator[Line]:
    if target.gpu is not None:
        behind = "behind an IOMMU" if target.gpu.behind_iommu else "no IOMMU before it"
        words = [behind, target.gpu.imports and f"imports {target.gpu.imports}"]
        debian = "" if target.gpu.in_debian else f" ({target.gpu.kconfig} is not set in Debian's kernels)"
        marked = _marked(target, "gpu")
        yield (
            "gpu",
            f"{target.gpu.model}, {target.gpu.driver}{debian}{marked}: {', '.join(filter(None, words))}",
        )
    if target.kvm is not None:
        usable = "yes" if target.kvm.usable else "no"
        yield "kvm", f"{usable}: {target.kvm.basis}{_marked(target, 'kvm')}"
    cma = target.cma
    words = [f"wants {cma.wants}" if cma.wants else "", f"reserved: {cma.reserved}" if cma.reserved else ""]
    if any(words):
        yield "cma", f"{'; '.join(word for word in words if word)}{_marked(target, 'cma')}"
    if target.boot.dtb is not None:
        yield "boot", f"{target.boot.loader}, device tree {target.boot.dtb}"


def _hookup(target: Target) -> Iterator[Line]:
    """The exporter's entries, to be copied into a lab's file."""
    for index, (name, arguments) in enumerate(target.hookup.resources.items()):
        text = yaml.safe_dump(arguments, default_flow_style=True, width=1000, sort_keys=False).strip()
        yield "" if index else "hook-up", f"{name}: {text}"
    for name in target.hookup.drivers:
        yield "", f"  driver where the place has it: {name}"
    for note in target.hookup.notes:
        yield "", f"  {note}"
