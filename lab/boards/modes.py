"""What an IOMMU mode looks like on a booted board, and whether a board is in it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lab.base.words import IommuMode
from lab.boards.errors import LostBoardError
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
    expected = GROUP_TYPE[mode]
    for decoder in target.decoders:
        if not decoder.behind_iommu and mode is not IommuMode.OFF:
            continue
        found = agent.call("iommu", device=decoder.device)["type"]
        if found != expected:
            raise LostBoardError(
                f"asked for IOMMU mode {mode}, but decoder {decoder.name} ({decoder.device}) "
                f"is in {_group(found)}, not in {_group(expected)}"
            )
    return expected or "no group"


def _group(kind: str | None) -> str:
    return "no IOMMU group" if kind is None else f"a group of type {kind}"
