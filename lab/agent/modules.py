"""Loading kernel modules, their parameters, and binding drivers to devices."""

from __future__ import annotations

import os
import time

from . import files
from .iommu import device_folder

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def loaded(module: str) -> bool:
    """Whether a module is loaded or built in with a sysfs presence."""
    return os.path.isdir(f"/sys/module/{module.replace('-', '_')}")


def bound_devices(module: str) -> list[str]:
    """Return the devices that the drivers of a loaded module are bound to, as named on their bus."""
    found = set()
    drivers = f"/sys/module/{module.replace('-', '_')}/drivers"
    for driver in files.listing(drivers):  # entries like pci:edu-fwht
        for name in files.listing(f"{drivers}/{driver}"):
            if files.link_name(f"{drivers}/{driver}/{name}/driver"):
                found.add(name)
    return sorted(found)


def load(module: str, params: dict[str, Any] | None = None) -> dict[str, Any]:
    """Load a module; returns ``{"module", "loaded": bool, "devices": [bound], "kmsg": [lines]}``.

    insmod succeeds even if probe fails, so look at ``devices``, and at ``kmsg`` for why one is missing.
    Parameters of a module that is loaded already are not changed (`set_parameter`). Raises ``OSError`` with
    modprobe's words if there is no such module.
    """
    if loaded(module):
        return {"module": module, "loaded": False, "devices": bound_devices(module), "kmsg": []}
    from .kmsg import KernelLog
    from .run import run

    log = KernelLog()
    try:
        words = [f"{name}={_value(value)}" for name, value in (params or {}).items()]
        result = run(["modprobe", module, *words], timeout=60)
        if result["rc"] != 0:
            raise OSError(None, f"modprobe {module}: {result['stderr'].decode(errors='replace').strip()}")
        return {"module": module, "loaded": True, "devices": bound_devices(module), "kmsg": log.lines()}
    finally:
        log.close()


def unload(module: str) -> None:
    """Unload a module and what only it used; nothing if it is not loaded. ``OSError`` if it is in use."""
    from .run import run

    if loaded(module):
        result = run(["modprobe", "-r", module], timeout=60)
        if result["rc"] != 0:
            raise OSError(None, f"modprobe -r {module}: {result['stderr'].decode(errors='replace').strip()}")


def set_parameter(module: str, name: str, value: Any) -> None:
    """Write a loaded module's parameter; a list becomes ``1,2``. ``OSError`` if read-only or refused."""
    files.write(f"/sys/module/{module.replace('-', '_')}/parameters/{name}", _value(value))


def _value(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)


def unbind(device: str) -> str | None:
    """Take a device from its driver and return the driver's name, ``None`` if it had none."""
    folder = _folder(device)
    driver = files.link_name(f"{folder}/driver")
    if driver is not None:
        files.write(f"{folder}/driver/unbind", device)
    return driver


def bind(device: str, driver: str) -> dict[str, Any]:
    """Offer a device to a driver and return ``{"bound": bool, "errno": int | None, "kmsg": [lines]}``.

    ``errno`` is what the driver's probe returned (drivers/base/bus.c, bind_store): -EIO where the decoder's
    address bits cannot reach memory.
    """
    from .kmsg import KernelLog

    folder = _folder(device)
    bus = os.path.basename(os.path.realpath(f"{folder}/subsystem"))
    log = KernelLog()
    errno = None
    try:
        try:
            files.write(f"/sys/bus/{bus}/drivers/{driver}/bind", device)
        except FileNotFoundError:
            raise LookupError(f"bus {bus} has no driver {driver!r}: is its module loaded?") from None
        except OSError as error:
            errno = error.errno
        return {"bound": files.link_name(f"{folder}/driver") == driver, "errno": errno, "kmsg": log.lines()}
    finally:
        log.close()


def rebind(device: str, driver: str | None = None) -> dict[str, Any]:
    """Unbind and bind again, so that probe runs with new parameters; returns as `bind`."""
    had = unbind(device)
    driver = driver or had
    if driver is None:
        raise LookupError(f"device {device} has no driver: say which one to bind")
    return bind(device, driver)


def _folder(device: str) -> str:
    folder = device_folder(device)
    if folder is None:
        raise LookupError(f"no device {device!r} on any bus of the board")
    return folder


def wait_for(path: str, timeout: float = 5.0) -> bool:
    """Wait until a device node exists; devtmpfs makes it at once, a driver may probe a little later."""
    deadline = time.monotonic() + timeout
    while not os.path.exists(path):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True
