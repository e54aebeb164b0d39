"""What an IOMMU mode looks like on a booted board, and whether a board is in it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lab.base.words import IommuMode
from lab.boards.errors import LostBoardError
from lab.boards.facts import Decoder
from lab.boards.target import Target

if TYPE_CHECKING:
    from lab.boards.agent import Agent

GROUP_TYPE: dict[IommuMode, str | None] = {
    IommuMode.TRANSLATED: "DMA",
    IommuMode.LAZY: "DMA-FQ",
    IommuMode.PASSTHROUGH: "identity",
    IommuMode.OFF: None,
}
"""Mode -> /sys/kernel/iommu_groups/N/type of a device (Linux, drivers/iommu/iommu.c); None: in no group."""


def verify(agent: Agent, target: Target, mode: IommuMode) -> str:
    """Hold each decoder's IOMMU group against ``mode``: the group's type, or "no group".

    The group appears when a driver first binds. Raises LostBoardError where one is in another mode.
    """
    for decoder in target.decoders:
        if wrong := astray(decoder, mode, agent.call("iommu", device=decoder.device)["type"]):
            raise LostBoardError(wrong)
    return GROUP_TYPE[mode] or "no group"


def astray(decoder: Decoder, mode: IommuMode, found: str | None) -> str:
    """What is wrong with a decoder in a group of type ``found`` while ``mode`` is asked for; or nothing."""
    expected = GROUP_TYPE[mode]
    if found == expected or (not decoder.behind_iommu and mode is not IommuMode.OFF):
        return ""
    return (
        f"asked for IOMMU mode {mode}, but decoder {decoder.name} ({decoder.device}) "
        f"is in {_group(found)}, not in {_group(expected)}"
    )


def _group(kind: str | None) -> str:
    return "no IOMMU group" if kind is None else f"a group of type {kind}"
