"""From one IOMMU mode into another while the board runs: the decoders' groups get another kind of domain.

The kernel takes that only while no driver is bound to any device of a group (Linux, drivers/iommu/iommu.c
iommu_group_store_type). Devices in other groups keep what they were booted with.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lab.base.errors import LabError
from lab.base.words import IommuMode
from lab.boards.target import Target

if TYPE_CHECKING:
    from lab.boards.agent import Agent

IOMMU_WORD = "iommu."
"""What the kernel's arguments for the default kind of domain begin with."""


def possible(target: Target, now: IommuMode, wanted: IommuMode) -> bool:
    """Whether boots into the two modes differ in nothing but the kind of domain that groups get."""
    setups = [target.iommu.modes[mode] for mode in (now, wanted)]
    others = [{word for word in setup.kernel if not word.startswith(IOMMU_WORD)} for setup in setups]
    return IommuMode.OFF not in (now, wanted) and others[0] == others[1] and not any(s.tree for s in setups)


def switch(agent: Agent, target: Target, kind: str) -> None:
    """Give the groups of the decoders behind the IOMMU domains of ``kind``, as sysfs names it.

    Their drivers are bound anew; one that refuses its device in the new mode (a decoder whose address bits
    reach no memory then) does so at a boot into it as well. Raises CallError where the kernel refuses, and
    LabError where a device that is no decoder does not come back.
    """
    drivers = {one.device: one.driver for one in target.decoders if one.behind_iommu}
    for group, device in _groups(agent, list(drivers)).items():
        members = _members(agent, group)
        had = {member: agent.call("unbind", device=member) for member in members}
        try:
            agent.call("set_type", device=device, kind=kind)
        finally:
            for member, driver in had.items():
                if bound := drivers.get(member) or driver:
                    came_back = agent.call("bind", device=member, driver=bound)["bound"]
                    if not came_back and member not in drivers:
                        raise LabError(f"{member} of IOMMU group {group} is without its driver {driver} now")


def _groups(agent: Agent, devices: list[str]) -> dict[int, str]:
    """Each group that one of the devices is in -> one of them."""
    found = {device: agent.call("iommu", device=device)["group"] for device in devices}
    return {group: device for device, group in found.items() if group is not None}


def _members(agent: Agent, group: int) -> list[str]:
    listed: dict[str, Any] = agent.call("run", argv=["ls", f"/sys/kernel/iommu_groups/{group}/devices"])
    names: list[str] = listed["stdout"].decode().split()
    return names
