"""This machine: programs, Python packages, keys, USB serial adapters."""

from __future__ import annotations

import os
import platform
import shutil
import stat
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from urllib.request import getproxies, proxy_bypass

from lab.admin.doctor.finding import Finding, bad, info, ok, warn
from lab.base import dirs
from lab.base.proc import PACKAGES

NEEDED = ("ssh", "ssh-keygen")
FOR_VIRTUAL_BOARDS = ("qemu-system-aarch64",)
FOR_SERIAL_ADAPTERS = ("ser2net",)  # labgrid's exporter starts it
SBIN = "/usr/local/sbin:/usr/sbin:/sbin"  # not in everybody's PATH; labgrid looks there too


def checks() -> Iterator[Finding]:
    """All checks of this machine."""
    yield _python()
    yield _serial_fork()
    adapters = usb_serial()
    yield from _programs(bool(adapters))
    yield from _keys()
    yield from _proxy()
    for adapter in adapters:
        yield _adapter(adapter)


def _python() -> Finding:
    return ok("python", f"{platform.python_version()}, labgrid {version('labgrid')}")


def _serial_fork() -> Finding:
    """Plain pyserial and labgrid's fork own the same folder; whoever came last wins, silently."""
    try:
        plain = version("pyserial")
    except PackageNotFoundError:
        plain = ""
    import serial

    if plain or serial.__version__.count(".") < 3:
        fix = "pip uninstall pyserial && pip install --force-reinstall pyserial-labgrid"
        return bad(
            "pyserial", f"{serial.__version__} is not labgrid's: serial lines are 100 times slower", fix
        )
    return ok("pyserial", f"{serial.__version__}, labgrid's own")


def _programs(adapters: bool) -> Iterator[Finding]:
    wanted = [(program, bad, "") for program in NEEDED]
    wanted += [(program, info, ": no virtual boards here") for program in FOR_VIRTUAL_BOARDS]
    wanted += [
        (program, bad, ": labgrid's exporter needs it for the adapter") for program in FOR_SERIAL_ADAPTERS
    ]
    there = []
    for program, kind, why in wanted:
        if shutil.which(program) or shutil.which(program, path=SBIN):
            there.append(program)
        elif program not in FOR_SERIAL_ADAPTERS or adapters:
            yield kind(program, f"missing{why}", f"apt-get install {PACKAGES.get(program, program)}")
    yield ok("programs", ", ".join(there))


def _keys() -> Iterator[Finding]:
    """ssh refuses a private key that others may read."""
    key = dirs.cache() / "keys" / "id_ed25519"
    if not key.exists():
        yield info("ssh key", "none yet: the first run makes one, for the boards alone")
    elif key.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        yield bad("ssh key", f"{key} may be read by others, so ssh refuses it", f"chmod 600 {key}")
    else:
        yield ok("ssh key", str(key))


def _proxy() -> Iterator[Finding]:
    """labgrid's power driver would send a power URL of this machine to the proxy (requests reads these)."""
    if getproxies().get("http") and not proxy_bypass("127.0.0.1"):
        exempt = ",".join(filter(None, (os.environ.get("no_proxy"), "localhost,127.0.0.1")))
        yield warn(
            "proxy", "HTTP_PROXY is used for 127.0.0.1 too", f"export no_proxy={exempt} NO_PROXY={exempt}"
        )


def usb_serial() -> list[dict[str, str]]:
    """udev's properties of the USB serial adapters that are plugged in."""
    import pyudev

    found = pyudev.Context().list_devices(subsystem="tty", ID_BUS="usb")
    return sorted((dict(device.properties) for device in found), key=lambda one: one.get("DEVNAME", ""))


def resource_of(adapter: dict[str, str]) -> str:
    """How to write an adapter into a lab file: by its serial number, or by where it is plugged in."""
    serial, path = adapter.get("ID_SERIAL_SHORT"), adapter.get("ID_PATH", "")
    match = f"ID_SERIAL_SHORT: {serial}" if serial else f"ID_PATH: '{path}'"
    if serial and adapter.get("ID_USB_INTERFACE_NUM", "00") != "00":
        match += (
            f", ID_USB_INTERFACE_NUM: '{adapter['ID_USB_INTERFACE_NUM']}'"  # one of several in one device
        )
    return f"USBSerialPort: {{match: {{{match}}}, speed: 115200}}"


def _adapter(adapter: dict[str, str]) -> Finding:
    device = adapter.get("DEVNAME", "?")
    name = " ".join(adapter[key].replace("_", " ") for key in ("ID_VENDOR", "ID_MODEL") if adapter.get(key))
    if not os.access(device, os.R_OK | os.W_OK):
        group = Path(device).group()
        fix = f"sudo usermod -aG {group} $USER, then log in again"
        return bad("adapter", f"{device} {name}: you may not open it", fix, resource_of(adapter))
    return info("adapter", f"{device} {name}, in a lab file:", resource_of(adapter))
