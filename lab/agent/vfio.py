"""Giving a device away to a virtual machine by VFIO, and taking it back, whatever became of that.

What was given away is written down in a file per device, so that also an agent that follows one which was
killed knows what to give back. Kernel: drivers/vfio/pci/vfio_pci.c; driver_override: drivers/pci/pci-sysfs.c.
"""

from __future__ import annotations

import errno
import os
import time

from . import files
from .iommu import iommu
from .kmsg import KernelLog, probe_error
from .modules import bind, load, unbind

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

FOLDER = "/run/lab/vfio"
DRIVER = "vfio-pci"
LETTING_GO = 5.0
"""Seconds that a VMM which has ended gets to let go: its memory is unpinned first, 0.3 s for 512 MiB."""


def vfio_take(device: str) -> dict[str, Any]:
    """Take a PCI device from its driver and bind it to vfio-pci, for `vfio_give_back`.

    Returns ``device``, ``group`` (its number: /dev/vfio/GROUP), ``was`` (the driver that it had, ``None``: no
    driver). Nothing more is done where it is taken already. ``OSError`` in the kernel's words where it cannot
    be (EINVAL: no IOMMU group); the device has its own driver again then. ``LookupError``: no such device.
    """
    load("vfio_pci")
    folder = f"/sys/bus/pci/devices/{device}"
    if not os.path.isdir(folder):
        raise LookupError(f"no PCI device {device!r} on this board")
    had = files.link_name(f"{folder}/driver")
    if had != DRIVER:
        os.makedirs(FOLDER, exist_ok=True)
        if had is not None or not os.path.exists(f"{FOLDER}/{device}"):  # else somebody was stopped half way
            with open(f"{FOLDER}/{device}", "w") as file:  # first, so that all that follows can be undone
                file.write(had or "")
        files.write(f"{folder}/driver_override", DRIVER)
        unbind(device)
        answer = bind(device, DRIVER)
        if not answer["bound"]:
            vfio_give_back(device)
            _, words = probe_error(answer["kmsg"], device) or (0, f"{DRIVER} did not bind to {device}")
            group = iommu(device)["group"]
            why = f"{device} is in no IOMMU group" if group is None else f"{device} is in IOMMU group {group}"
            raise OSError(answer["errno"] or errno.EINVAL, f"{why}: {words}")
    return {
        "device": device,
        "group": iommu(device)["group"],
        "was": files.read(f"{FOLDER}/{device}") or None,
    }


def vfio_give_back(device: str | None = None) -> list[dict[str, Any]]:
    """Give a device back to the driver that it had; without ``device`` all that were taken. Idempotent.

    Returns ``device``, ``driver`` (what it is bound to now), ``kmsg`` of each that was taken. ``OSError``
    EBUSY where a virtual machine still has it: to unbind it now would wait for that without an end.
    """
    known = files.listing(FOLDER)
    return [_give_back(name) for name in known if device in (None, name)]


def reset() -> list[str]:
    """Give back what nobody uses any more; returns what went wrong, as text.

    What a running virtual machine has stays its own: it may serve the next test too.
    """
    errors = []
    for device in files.listing(FOLDER):
        if not users(device):
            try:
                _give_back(device)
            except (OSError, LookupError) as error:
                errors.append(f"giving back {device}: {error}")
    return errors


def users(device: str) -> list[int]:
    """Return the processes that have the device, or all of its group, open."""
    folder = f"/sys/bus/pci/devices/{device}"
    group = files.link_name(f"{folder}/iommu_group")
    if group is None:
        return []
    names = {
        f"/dev/vfio/{group}",
        *(f"/dev/vfio/devices/{name}" for name in files.listing(f"{folder}/vfio-dev")),
    }
    found = []
    for pid in files.listing("/proc"):
        if pid.isdigit():
            opened = files.listing(f"/proc/{pid}/fd")
            if names & {_target(f"/proc/{pid}/fd/{fd}") for fd in opened}:
                found.append(int(pid))
    return sorted(found)


def _target(link: str) -> str:
    try:
        return os.readlink(link)
    except OSError:
        return ""  # closed meanwhile


def _give_back(device: str) -> dict[str, Any]:
    folder = f"/sys/bus/pci/devices/{device}"
    deadline = time.monotonic() + LETTING_GO
    while having := users(device):
        if time.monotonic() > deadline:
            raise OSError(errno.EBUSY, f"{device} is still in use by process {having[0]}")
        time.sleep(0.02)
    log = KernelLog()
    try:
        files.write(f"{folder}/driver_override", "\n")
        if files.link_name(f"{folder}/driver") == DRIVER:
            unbind(device)
        was = files.read(f"{FOLDER}/{device}")
        if was and files.link_name(f"{folder}/driver") is None:
            answer = bind(device, was)
            if not answer["bound"]:
                raise OSError(
                    answer["errno"], f"{was} did not bind to {device}: {' | '.join(answer['kmsg'])}"
                )
        os.unlink(f"{FOLDER}/{device}")
        return {"device": device, "driver": files.link_name(f"{folder}/driver"), "kmsg": log.lines()}
    finally:
        log.close()
