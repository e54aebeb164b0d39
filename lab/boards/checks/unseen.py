"""The facts that no package tells: they are listed, so that nobody takes them for checked."""

from __future__ import annotations

from collections.abc import Iterator

from lab.boards.checks.finding import Finding, State
from lab.boards.target import Target

DECODER = {
    "api": "the device says: VIDIOC_QUERYCAP and requests",
    "coded": "which of its driver's the device offers, it says: VIDIOC_ENUM_FMT",
    "raw": "which of its driver's the device offers, it says: VIDIOC_ENUM_FMT",
    "planes": "the device says: VIDIOC_G_FMT",
    "step": "the device says: VIDIOC_ENUM_FRAMESIZES",
    "size": "the device says: VIDIOC_G_FMT",
    "dma_mask": "read from the driver's source; the board's trace shows the addresses",
    "contiguous": "read from the driver's source; the board's refusals show it",
}
OTHER = {
    "memory": "a board's own",
    "boot.loader": "the board's firmware",
    "boot.network": "the board's firmware",
    "iommu.attachment": "text",
    "iommu.group": "the board says: /sys/kernel/iommu_groups",
    "iommu.off_effect": "what a run on the board is there to show",
    "gpu.imports": "read from the driver's source",
    "gpu.mmu": "read from the driver's source",
    "gpu.mask": "read from the driver's source",
    "kvm": "the board says: /dev/kvm",
    "cma.wants": "depends on what is decoded",
    "cma.reserved": "text",
}


def findings(target: Target) -> Iterator[Finding]:
    """Every fact that the file states and nothing here can tell, with who could."""
    for decoder in target.decoders:
        stated = decoder.model_dump(exclude_defaults=True)
        for key, who in DECODER.items():
            if key in stated:
                yield _open(target, f"decoders.{decoder.name}.{key}", who)
    stated = target.model_dump(exclude_defaults=True)
    for path, who in OTHER.items():
        section, _, key = path.partition(".")
        if section in stated and (not key or (stated[section] or {}).get(key)):
            yield _open(target, path, who)
    listed = {f"decoders.{decoder.name}.{key}" for decoder in target.decoders for key in DECODER} | set(OTHER)
    for path in target.unverified:
        if path not in listed:
            yield _open(target, path, "")


def _open(target: Target, path: str, who: str) -> Finding:
    """``who`` could tell; and where the file itself marks the fact, what it rests on."""
    basis = target.unverified.get(path)
    said = [f"unverified: {basis}"] if basis is not None else []
    return Finding(path, State.OPEN, "; ".join([*said, who] if who else said))
