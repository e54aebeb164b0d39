"""From the reason that the constraint model recorded to the demand behind it, in words that fit any column.

A result carries the model's sentence (``expected_reason``, `lab.sharing.expect`). A comparison wants the
demand that the two sides answer differently, so each sentence is looked up here. What is not known, such as
the words of a VMM or of a kernel, explains itself and is shown as it came.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from lab.base.words import IommuMode


@dataclass(frozen=True, slots=True)
class Constraint:
    """``name`` of the demand; ``text`` with groups of ``pattern``.

    ``by_iommu``: an IOMMU would change it, so how it stands is part of the explanation.
    """

    name: str
    pattern: re.Pattern[str]
    text: str
    by_iommu: bool = True


def _constraint(name: str, pattern: str, text: str, *, by_iommu: bool = True) -> Constraint:
    return Constraint(name, re.compile(pattern), text, by_iommu)


_BEYOND = r"(?P<whose>guest RAM: )?pages beyond (?P<bits>\d+) bits"

CONSTRAINTS = (
    _constraint(
        "contiguity",
        r"EFAULT: (?P<pages>\d+) pages, not contiguous(?P<where>.*)",
        "needs contiguous memory; {pages} pages are scattered{where}",
    ),
    _constraint(
        "translation",
        r"the IOMMU maps the pages to (?P<what>one range|addresses) that the decoder reaches",
        "IOMMU maps the pages to {what} that the decoder reaches",
        by_iommu=False,
    ),
    _constraint(
        "translation",
        r"allocated by the decoder's driver behind the IOMMU",
        "decoder's own memory, behind the IOMMU",
        by_iommu=False,
    ),
    _constraint(
        "own memory",
        r"allocated by the decoder's driver, for its mask",
        "decoder's own memory, within its mask",
    ),
    _constraint(
        "one run",
        r"one physical run within (?P<bits>\d+) bits",
        "one physical run within the decoder's {bits} address bits",
    ),
    _constraint("scatter", r"the decoder takes scattered pages", "takes scattered pages"),
    _constraint(
        "address mask",
        rf"{_BEYOND} are bounced \(swiotlb\) and never copied back",
        "reaches {bits} address bits; {whose}pages beyond are bounced (swiotlb) and never copied back",
    ),
    _constraint(
        "address mask",
        rf"{_BEYOND} are bounced, and the exporter copies them back",
        "reaches {bits} address bits; {whose}pages beyond are bounced, and the exporter copies them back",
    ),
    _constraint(
        "address mask",
        r"EFAULT: only the pages beyond (?P<bits>\d+) bits are bounced",
        "reaches {bits} address bits; only some pages lie beyond and are bounced, so they are not one run",
    ),
    _constraint(
        "address mask",
        r"EINVAL: pages beyond (?P<bits>\d+) bits, no bounce buffers",
        "reaches {bits} address bits; pages lie beyond, and there are no bounce buffers",
    ),
    _constraint(
        "address mask",
        r"EIO at probe: (?P<bits>\d+) address bits do not serve RAM at (?P<where>.*)",
        "cannot probe: {bits} address bits do not serve RAM at {where}",
    ),
    _constraint(
        "address lines",
        r"the device cuts (?P<what>I/O |guest )?addresses to (?P<bits>\d+) bits(?P<rest>.*)",
        "the device has {bits} address lines, fewer than its driver says{rest}",
    ),
    _constraint(
        "IOMMU group",
        r"the IOMMU maps all guest RAM for the decoder, and the guest allocates",
        "IOMMU maps all guest RAM for the decoder, and the guest allocates",
        by_iommu=False,
    ),
    _constraint(
        "IOMMU group",
        r".*is in no IOMMU group(?:: .*)?",
        "VFIO needs the decoder in an IOMMU group",
    ),
    _constraint(
        "struct pages",
        r"EFAULT: O_DIRECT wants struct pages, which a dma-buf's mapping has not \(PFNMAP\)",
        "O_DIRECT needs struct pages, which a dma-buf's mapping has not",
        by_iommu=False,
    ),
)
"""The first whose pattern matches the whole sentence is it."""

IN_GUEST = "guest: "
"""Before the reason of a decoder that a guest drives."""

WHOSE = {"guest RAM: ": "guest "}
"""What a sentence puts before the memory that it speaks of -> the same within ours."""

IOMMU = {
    IommuMode.TRANSLATED: "IOMMU translates",
    IommuMode.LAZY: "IOMMU translates",
    IommuMode.PASSTHROUGH: "IOMMU passes through",
    IommuMode.OFF: "no IOMMU",
}


def constraint_of(reason: str) -> tuple[Constraint | None, str]:
    """The constraint that ``reason`` names, and its words; None and ``reason`` where it is not known."""
    line = reason.partition("\n")[0].strip()
    bare = line.removeprefix(IN_GUEST)
    for item in CONSTRAINTS:
        if found := item.pattern.fullmatch(bare):
            words = {name: WHOSE.get(value, value or "") for name, value in found.groupdict().items()}
            text = item.text.format_map(words)
            return item, text if bare == line else f"in the guest: {text}"
    return None, line


def explained(reason: str, mode: IommuMode, *, across_modes: bool) -> str:
    """``no IOMMU: needs contiguous memory; 2 pages are scattered``.

    ``across_modes``: the columns differ in how the IOMMU stands, so it is part of the explanation.
    """
    item, words = constraint_of(reason)
    if words and across_modes and item is not None and item.by_iommu:
        return f"{IOMMU[mode]}: {words}"
    return words
