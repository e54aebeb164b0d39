"""The way to the coordinator, and who else can take it. labgrid 26.0 knows no passwords and no encryption."""

from __future__ import annotations

import ipaddress
import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

from lab.admin.doctor.finding import Finding, bad, info, ok, warn

TIMEOUT = 3.0
LISTEN = "0A"  # TCP_LISTEN, include/net/tcp_states.h
TABLES = (Path("/proc/net/tcp"), Path("/proc/net/tcp6"))  # Documentation/networking/proc_net_tcp.rst


def split(address: str) -> tuple[str, int]:
    """HOST:PORT in two; an IPv6 address without its brackets."""
    host, _, port = address.rpartition(":")
    return host.strip("[]"), int(port)


def obstacle(host: str, port: int, timeout: float = TIMEOUT) -> str:
    """What keeps a TCP connection from being made; empty where one is."""
    try:
        socket.create_connection((host, port), timeout).close()
    except OSError as error:
        return error.strerror or str(error)
    except UnicodeError:  # of the resolver: two dots, a label of more than 63 letters
        return f"'{host}' cannot be a host's name"
    return ""


def is_loopback(host: str) -> bool:
    """Whether ``host`` is this machine itself, and nobody else's."""
    try:
        found = socket.getaddrinfo(host, None)
        return all(ipaddress.ip_address(entry[4][0]).is_loopback for entry in found)
    except (OSError, UnicodeError):
        return False


def listeners(port: int) -> list[str]:
    """The addresses of this machine on which a process listens at ``port``."""
    found = []
    for table in TABLES:
        for line in table.read_text().splitlines()[1:] if table.exists() else ():
            local, state = (line.split()[index] for index in (1, 3))
            address, _, number = local.partition(":")
            if state == LISTEN and int(number, 16) == port:
                found.append(str(_decoded(address)))
    return found


def _decoded(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """As the kernel prints it: 32-bit words in the machine's byte order."""
    words = [bytes.fromhex(text[start : start + 8])[::-1] for start in range(0, len(text), 8)]
    found = ipaddress.ip_address(b"".join(words))
    mapped = found.ipv4_mapped if isinstance(found, ipaddress.IPv6Address) else None
    return mapped or found  # gRPC listens on ::ffff:127.0.0.1 where it was told 127.0.0.1


def tunnel(server: str, port: int) -> tuple[str, ...]:
    """The set-up of a user who is on another machine than the coordinator."""
    forward = f"127.0.0.1:{port}:127.0.0.1:{port}"
    return (
        f"ssh -NT -o ExitOnForwardFailure=yes -L {forward} {server}  # keep it running",
        f"export LG_COORDINATOR=127.0.0.1:{port} LG_PROXY={server}  # LG_PROXY: consoles and power",
    )


def exposure(address: str) -> Iterator[Finding]:
    """Who can reach the coordinator: everybody who can drives all boards and takes them from others."""
    host, port = split(address)
    if not is_loopback(host):
        yield warn(
            "exposed",
            f"the coordinator is reached over the network at {address}, with no password and in the clear",
            f"there: labgrid-coordinator --listen 127.0.0.1:{port}  # as lab units writes it; here:",
            *tunnel(host, port),
        )
        return
    wide = [found for found in listeners(port) if not ipaddress.ip_address(found).is_loopback]
    if wide:
        where = ", ".join("every address" if found in ("0.0.0.0", "::") else found for found in wide)
        yield warn(
            "exposed",
            f"port {port} listens on {where} of this machine: whoever reaches it drives every board",
            f"labgrid-coordinator --listen 127.0.0.1:{port}  # as lab units writes it; from elsewhere:",
            *tunnel(socket.gethostname(), port),
        )
    else:
        yield ok("exposed", "no: it listens on loopback only")


def unreachable(address: str, *, named: bool, file: str = "") -> Finding:
    """Nobody answers as a coordinator: why, as far as it shows.

    ``named``: someone said that it is there; ``file``: of the lab, where there is one.
    """
    host, port = split(address)
    said = obstacle(host, port)
    if said and not named:
        text = "no, and none was named: `lab run` starts virtual boards of its own"
        return info("answers", text, *_beginnings(port, file))
    if not said:
        return bad("answers", f"something listens at {address}, but it is no labgrid coordinator")
    if is_loopback(host):
        return bad("answers", f"no: {said}", *_beginnings(port, file))
    return bad(
        "answers",
        f"no: {said}",
        "where it listens on its own loopback only, as it should:",
        *tunnel(host, port),
    )


def _beginnings(port: int, file: str) -> tuple[str, ...]:
    up = f"lab up --lab {file}  # the lab of this file" if file else "lab up  # a lab of virtual boards"
    return (
        f"{up} on this machine, until lab down",
        f"lab units {file or 'LAB.yaml'}  # a coordinator as a service, here or elsewhere",
        *tunnel("LAB-MACHINE", port),
    )


def proxy() -> Iterator[Finding]:
    """LG_PROXY: labgrid reaches consoles, power and boards through this ssh destination."""
    server = os.environ.get("LG_PROXY")
    if not server or shutil.which("ssh") is None:
        return
    command = [
        "ssh",
        "-o",
        "BatchMode=yes",
        "-o",
        "StrictHostKeyChecking=yes",
        "-o",
        "ConnectTimeout=5",
        server,
    ]
    try:
        done = subprocess.run(
            [*command, "true"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=15,
            check=False,
        )
        said = done.stderr.strip().splitlines()[-1:] if done.returncode else []
        failed = done.returncode != 0
    except subprocess.TimeoutExpired:
        failed, said = True, ["it did not answer within 15 s"]
    if failed:
        yield bad(
            "LG_PROXY",
            f"ssh {server} does not work without questions: {said[0] if said else 'it failed'}",
            f"ssh {server}  # once by hand: it asks about the host key",
            f"ssh-copy-id {server}",
        )
    else:
        yield ok("LG_PROXY", f"{server} answers to this user's key")
