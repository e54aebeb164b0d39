"""Whether and how an IOMMU stands between a device and memory, and how often it faulted."""

from __future__ import annotations

from . import files
from .kmsg import LOST

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

# What IOMMU drivers log on a fault (drivers/iommu: arm-smmu-v3.c, arm-smmu.c, rockchip-iommu.c and
# vsi-iommu.c, mtk_iommu.c, sun50i-iommu.c). Some are dev_info, so the level says nothing.
FAULT_MARKS = (
    "event 0x",
    "event: F_",
    "event: C_BAD",
    "Unhandled context fault",
    "Blocked unknown Stream ID",
    "Page fault at ",
    "Page fault for ",
    "BUS_ERROR occurred at",
    "fault type=0x",
)


def device_folder(device: str) -> str | None:
    """Return the sysfs folder of a device by its name on its bus (``0000:00:01.0``), or ``None``."""
    for bus in files.listing("/sys/bus"):
        folder = f"/sys/bus/{bus}/devices/{device}"
        if files.link_name(folder):
            return folder
    return None


def iommu(device: str) -> dict[str, Any]:
    """Return ``{"group": int | None, "type": str | None, "reserved": [[start, end, kind]]}`` of a device.

    ``group`` is ``None`` where no IOMMU is in front of the device (or no driver has bound to it yet: some
    buses make the group only then). ``type`` is one of ``DMA``, ``DMA-FQ``, ``identity``, ``blocked``,
    ``unmanaged`` (drivers/iommu/iommu.c, iommu_group_show_type). Raises ``LookupError`` for a device that is
    not there.
    """
    folder = device_folder(device)
    if folder is None:
        raise LookupError(f"no device {device!r} on any bus of the board")
    group = files.link_name(f"{folder}/iommu_group")
    if group is None:
        return {"group": None, "type": None, "reserved": []}
    base = f"/sys/kernel/iommu_groups/{group}"
    reserved = [line.split() for line in (files.read_or_none(f"{base}/reserved_regions") or "").splitlines()]
    return {
        "group": int(group),
        "type": files.read_or_none(f"{base}/type"),
        "reserved": [[int(start, 16), int(end, 16), kind] for start, end, kind in reserved],
    }


def set_type(device: str, kind: str) -> None:
    """Give a device's group a default domain of another type: ``DMA``, ``DMA-FQ``, ``identity`` or ``auto``.

    Always a new domain where the type changes, with no address in use and none cached. Raises
    ``OSError`` while a driver is bound (drivers/iommu/iommu.c, iommu_group_store_type), ``LookupError``
    for a device without a group.
    """
    group = iommu(device)["group"]
    if group is None:
        raise LookupError(f"device {device} is in no IOMMU group")
    files.write(f"/sys/kernel/iommu_groups/{group}/type", kind)


def event_interrupts(interrupts: str) -> int | None:
    """Sum the SMMUv3 event queue interrupts in the text of /proc/interrupts; ``None`` without such a line.

    Each stands for at least one fault. The log cannot be counted: its lines are rate-limited.
    """
    total = None
    for line in interrupts.splitlines():
        if "arm-smmu-v3-evtq" in line or "arm-smmu-v3-combined-irq" in line:
            for word in line.split()[1:]:
                if not word.isdigit():
                    break
                total = (total or 0) + int(word)
    return total


def count_faults(log: list[str], before: int | None, after: int | None) -> int | None:
    """Count faults: SMMUv3 event interrupts (`event_interrupts`), or the fault lines, whichever are more.

    ``None`` where there are neither, and lines of the log were lost: each may have been a fault.
    """
    lines = len(fault_lines(log))
    if after is not None:
        return max(lines, after - (before or 0))
    return None if LOST in log and not lines else lines


def fault_lines(log: list[str]) -> list[str]:
    """Pick the lines of a kernel log by which an IOMMU reports a fault."""
    return [line for line in log if any(mark in line for mark in FAULT_MARKS)]
