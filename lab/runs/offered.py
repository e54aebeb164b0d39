"""What a labgrid place offers, and the labgrid environment that drives the board there."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import TYPE_CHECKING

from lab.places import Place, connect
from lab.rack.keys import boot_files, of_user

if TYPE_CHECKING:
    from lab.boards import Target
    from lab.imaging import Image

HERE = ("localhost", "127.0.0.1", "::1")


def place_environment(target: Target, place: str, directory: Path, image: Image | None) -> Path:
    """Write the labgrid environment for the board at ``place``, which LG_PLACE names; with this user's keys.

    Raises ConfigError for a place that is not there, LabError where no coordinator answers.
    """
    keys = of_user()
    files = directory / "boot-files.cpio"
    files.write_bytes(boot_files(keys))
    with connect() as session:
        tftp = tftp_here(session.place(place))
    return target.write_environment(directory, image=image, keyfile=keys.client, boot_files=files, tftp=tftp)


def tftp_here(place: Place) -> dict[str, str] | None:
    """The arguments of a TFTPProvider, where the TFTP server of ``place`` serves a folder of this machine.

    labgrid's exporter makes a RemoteTFTPProvider of every TFTPProvider, and its driver copies files to
    that over ssh, even to the machine that it runs on.
    """
    offered = place.resources.get("RemoteTFTPProvider")
    if offered is None:
        return None
    folder = str(offered["internal"])
    here = str(offered["host"]) in (*HERE, socket.gethostname(), socket.getfqdn())
    if not (here and os.access(folder, os.W_OK | os.X_OK)):
        return None
    return {"internal": folder, "external": str(offered["external"])}
