"""What a labgrid place offers, as far as this machine has to know it before labgrid does."""

from __future__ import annotations

import os
import socket

from lab.places import connect

HERE = ("localhost", "127.0.0.1", "::1")


def tftp_here(place: str) -> dict[str, str] | None:
    """The arguments of a TFTPProvider, where the TFTP server of ``place`` serves a folder of this machine.

    labgrid's exporter makes a RemoteTFTPProvider of every TFTPProvider, and its driver copies files to
    that over ssh, even to the machine that it runs on. Raises LabError where no coordinator answers.
    """
    with connect() as session:
        found = {one.name: one for one in session.places()}
    offered = found[place].resources.get("RemoteTFTPProvider") if place in found else None
    if offered is None:
        return None
    folder = str(offered["internal"])
    here = str(offered["host"]) in (*HERE, socket.gethostname(), socket.getfqdn())
    if not (here and os.access(folder, os.W_OK | os.X_OK)):
        return None
    return {"internal": folder, "external": str(offered["external"])}
