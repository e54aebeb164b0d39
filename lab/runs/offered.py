"""What a labgrid place offers, and the labgrid environment that drives the board there."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from lab.base.errors import LabError
from lab.boards import environment
from lab.rack.keys import boot_files, of_user
from lab.rack.machine import machine
from lab.rack.tree import dump_tree

if TYPE_CHECKING:
    from lab.boards import Target
    from lab.imaging import Image
    from lab.places import Place
    from lab.rack import Rack

HERE = ("localhost", "127.0.0.1", "::1")
PLAIN_DRIVERS: dict[str, str] = {
    "NetworkSerialPort": "SerialDriver",
    "NetworkPowerPort": "NetworkPowerDriver",
    "NetworkUSBPowerPort": "USBPowerDriver",
    "NetworkSiSPMPowerPort": "SiSPMPowerDriver",
    "NetworkYKUSHPowerPort": "YKUSHPowerDriver",
    "PDUDaemonPort": "PDUDaemonDriver",
    "TasmotaPowerPort": "TasmotaPowerDriver",
}
"""Resource, as clients see it -> labgrid's driver for it that needs no arguments."""


def place_environment(target: Target, place: str, directory: Path, image: Image | None) -> Path:
    """Write the labgrid environment for the board at ``place``, which LG_PLACE names; with this user's keys.

    Raises ConfigError for a place that is not there, LabError where no coordinator answers, and what
    `served_here` raises.
    """
    from lab.places import connect  # gRPC: not for a board of a rack of our own

    keys = of_user()
    files = directory / "boot-files.cpio"
    files.write_bytes(boot_files(keys))
    with connect() as session:
        found = session.place(place)
    return target.write_environment(
        directory,
        image=image,
        keyfile=keys.client,
        boot_files=files,
        served=served_here(found, to_boot=image is not None),
        drivers=gear(target, found.resources),
        dtb=own_tree(target, image, directory),
    )


def rack_environment(rack: Rack, name: str, target: Target, image: Image, directory: Path) -> Path:
    """Write the labgrid environment for board ``name`` of a rack of our own. Raises what `own_tree` does."""
    return target.write_environment(
        directory,
        resources=rack.resources(name),
        image=image,
        keyfile=rack.keyfile,
        boot_files=rack.boot_files,
        dtb=own_tree(target, image, directory),
    )


def own_tree(target: Target, image: Image | None, directory: Path) -> Path | None:
    """QEMU's device tree of a virtual board, in ``directory``, where a mode starts from it; else None.

    Raises LabError where QEMU does not give it.
    """
    if target.virtual is None or image is None or not target.edits_tree:
        return None
    path = directory / f"{target.name}.dtb"
    dump_tree(machine(target.virtual, error=target.error), image.uboot, path)
    return path


def gear(target: Target, offered: Iterable[str]) -> dict[str, dict[str, Any]]:
    """labgrid's drivers for what a place has besides what every board of this kind has.

    ``offered``: its resources, as clients see them. The target's file names the usual outlet; a place may
    have another, and a USB loader or an SD mux, whose drivers would not do without. Imports labgrid.
    """
    names = list(offered)
    own = environment.drivers(target.check())
    powered = any(environment.is_power(driver) and environment.binds(driver, names) for driver in own)
    others = [PLAIN_DRIVERS[name] for name in names if name in PLAIN_DRIVERS]
    power = [] if powered else [driver for driver in others if environment.is_power(driver)][:1]
    fitting = {
        driver: arguments
        for driver, arguments in target.hookup.drivers.items()
        if environment.binds(driver, names)
    }
    return {**{driver: {} for driver in power}, **fitting}


def plain_environment(place: Place, directory: Path) -> Path:
    """Write a labgrid environment for a board whose place names no target: its console and its power."""
    drivers: dict[str, dict[str, str]] = {
        PLAIN_DRIVERS[cls]: {} for cls in place.resources if cls in PLAIN_DRIVERS
    }
    main = {"resources": {"RemotePlace": {"name": place.name}}, "drivers": drivers}
    path = directory / f"{place.name}.yaml"
    path.write_text(yaml.safe_dump({"targets": {"main": main}}), encoding="utf-8")
    return path


def served_here(place: Place, *, to_boot: bool) -> dict[str, dict[str, str]]:
    """TFTPProvider and HTTPProvider -> arguments, for servers of ``place`` that serve our folders.

    labgrid's exporter makes a RemoteTFTPProvider of every TFTPProvider, and its driver copies files to
    that over ssh, even to the machine that it runs on. Raises LabError for a folder that cannot be used
    ``to_boot``.
    """
    found = {}
    for kind in ("TFTPProvider", "HTTPProvider"):
        offered = place.resources.get(f"Remote{kind}")
        if offered is None or str(offered["host"]) not in (*HERE, socket.gethostname(), socket.getfqdn()):
            continue
        folder = str(offered["internal"])
        if os.access(folder, os.W_OK | os.X_OK):
            found[kind] = {"internal": folder, "external": str(offered["external"])}
        elif to_boot:
            what = "cannot be written by you" if Path(folder).is_dir() else "is not there"
            raise LabError(
                f"place {place.name}: the {kind}'s folder {folder} {what}",
                hint=f"sudo install -d -o $USER {folder}",
            )
    return found
