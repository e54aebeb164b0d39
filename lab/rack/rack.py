"""A rack as its user sees it: start or find one, ask what its boards offer, end it."""

from __future__ import annotations

import http.client
import json
import os
import re
import secrets
import select
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

from lab.base import dirs, lockfile
from lab.base.errors import ConfigError, LabError
from lab.base.proc import require
from lab.rack.keys import boot_files, known_hosts, of_user
from lab.rack.layout import (
    LOOPBACK,
    BoardPlan,
    Plan,
    State,
    board_directory,
    files_token,
    read_state,
    write_plan,
    write_private,
)
from lab.rack.machine import Machine
from lab.rack.saved import BoardSnapshots

START_TIMEOUT = 20.0
END_TIMEOUT = 10.0
GATEWAY = "10.0.2.2"
"""This machine's loopback, as boards see it: QEMU's user network."""

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


class Bootable(Protocol):
    """What a rack needs of an image (lab.imaging.Image has it)."""

    @property
    def uboot(self) -> Path:
        """U-Boot for QEMU's ``virt`` machine."""

    @property
    def squashfs(self) -> Path:
        """The root file system: the board's ``/dev/vda``, read-only."""


@dataclass(frozen=True)
class BoardStatus:
    """What a board does just now. ``since``: seconds since the epoch, of the power-on; None when off."""

    power: bool
    pid: int | None
    since: float | None
    serial: int
    ssh: int


class Rack:
    """A running rack of virtual boards. As a context manager it ends with the block."""

    def __init__(self, directory: Path, state: State, process: subprocess.Popen[bytes] | None = None) -> None:
        """For ``start`` and ``attach``."""
        self.directory = directory
        self.state = state
        self._process = process
        self._keys = of_user()
        self.keyfile: Path = self._keys.client
        self.known_hosts: Path = directory / "known_hosts"
        self.boot_files: Path = directory / "boot-files.cpio"

    @classmethod
    def start(
        cls,
        machines: Mapping[str, Machine],
        *,
        image: Bootable,
        directory: Path,
        base_port: int | None = None,
        ephemeral: bool = True,
        snapshots: Path | None = None,
    ) -> Rack:
        """Start a rack in ``directory``, with one board for each of ``machines``, all off.

        An ``ephemeral`` rack ends, with its QEMUs, when this process does, however that ends. Any
        other one stays until it is told to end, and ``attach`` finds it. With ``base_port`` the
        power URL has that port and board number i (from 0) the ports base + 1 + 2i (console) and
        base + 2 + 2i (ssh); else the ports are any free ones. All are on the loopback interface.
        ``snapshots`` is a folder for them, by default the user's.

        Loopback is taken out of the reach of HTTP_PROXY in this process's environment (NO_PROXY):
        labgrid's power driver would send the power URL to the proxy.

        Raises ConfigError for what the caller gave (a file that cannot be read, a port in use, a
        missing program), LabError where the supervisor does not start.
        """
        require("qemu-system-aarch64")
        directory = directory.absolute()
        plan = Plan(
            token=_token(directory),
            boards=_boards(machines, image, base_port),
            snapshots=str(snapshots.absolute()) if snapshots else "",
            http_port=base_port or 0,
            parent=os.getpid() if ephemeral else 0,
        )
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        if _running(directory):
            raise LabError(f"a rack runs in {directory} already", hint="lab rack down")
        found = of_user()
        write_plan(directory, plan)
        process = _spawn(directory)
        try:
            write_private(directory / "boot-files.cpio", boot_files(found))  # while the supervisor starts
            _await(process, directory)
            state = read_state(directory)
            ports = [board.ssh for board in state.boards.values()]
            write_private(directory / "known_hosts", known_hosts(found, ports).encode())
        except BaseException:
            process.kill()
            process.wait()
            raise
        _no_proxy()
        return cls(directory, state, process)

    @classmethod
    def attach(cls, rack: str | Path = "default") -> Rack:
        """The rack that runs under a name (``lab rack up``) or in a directory.

        Raises LabError where none runs there.
        """
        directory = rack_directory(rack)
        try:
            if _running(directory):
                _no_proxy()
                return cls(directory, read_state(directory))
        except FileNotFoundError:
            pass
        raise LabError(f"no rack runs in {directory}", hint="lab rack up TARGET")

    @property
    def names(self) -> list[str]:
        """The boards."""
        return list(self.state.boards)

    def resources(self, name: str) -> dict[str, dict[str, Any]]:
        """Board ``name`` as labgrid resources: class name -> arguments of labgrid's class.

        ``TFTPProvider``: what TFTPProviderDriver.stage() returns is the name for U-Boot's
        ``tftpboot ADDRESS NAME``; QEMU's TFTP server follows the symbolic link that it makes.
        """
        ports = self.state.boards[self._known(name)]
        url = f"http://{LOOPBACK}:{self.state.http_port}/{self.state.token}/{name}"
        folder = board_directory(self.directory, name)
        files = f"http://{GATEWAY}:{self.state.http_port}/{files_token(self.state.token)}/{name}/"
        return {
            "NetworkPowerPort": {"model": "rest", "host": url, "index": "0"},
            "NetworkSerialPort": {"host": LOOPBACK, "port": ports.serial, "protocol": "raw", "speed": 115200},
            "NetworkService": {"address": LOOPBACK, "username": "root", "port": ports.ssh},
            # With the slash, as stage() cuts this off the path and leaves the bare file name.
            "TFTPProvider": {"internal": f"{folder}/tftp/", "external": ""},
            "HTTPProvider": {"internal": f"{folder}/http/", "external": files},
        }

    def console_log(self, name: str) -> Path:
        """The file with every byte that board ``name`` wrote to its console since the rack was started."""
        return board_directory(self.directory, self._known(name)) / "console.log"

    def log_tail(self, name: str, lines: int = 20) -> str:
        """The last lines about board ``name``, each with its UTC time: power, QEMU's output, guest errors.

        Also when the rack is gone; then with the last words of its supervisor.
        """
        text = _tail(board_directory(self.directory, self._known(name)) / "board.log", lines)
        if _running(self.directory):
            return text
        return f"{text}the rack's supervisor is gone\n{_tail(self.directory / 'supervisor.log', lines)}"

    def snapshots(self, name: str) -> BoardSnapshots:
        """The snapshots of board ``name``."""
        return BoardSnapshots(self, self._known(name))

    def status(self) -> dict[str, BoardStatus]:
        """What every board does just now. Raises LabError where the rack is gone."""
        data = json.loads(self.request("GET")[1])
        return {name: BoardStatus(**status) for name, status in data.items()}

    def close(self) -> None:
        """All boards off, the supervisor ended, all ports free. Idempotent."""
        if self._process is not None:
            if self._process.poll() is None:
                self._process.send_signal(signal.SIGTERM)
                try:
                    self._process.wait(END_TIMEOUT)
                except subprocess.TimeoutExpired:
                    self._process.kill()  # takes the QEMUs with it (PR_SET_PDEATHSIG)
                    self._process.wait()
        elif _running(self.directory):
            self.request("DELETE")
            deadline = time.monotonic() + END_TIMEOUT
            while _running(self.directory):
                if time.monotonic() > deadline:
                    raise LabError(f"the rack in {self.directory} (process {self.state.pid}) does not end")
                time.sleep(0.02)

    def __enter__(self) -> Rack:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _known(self, name: str) -> str:
        if name not in self.state.boards:
            raise ConfigError(f"no board '{name}' in this rack (it has {', '.join(self.names)})")
        return name

    def request(
        self, method: str, path: str = "", body: bytes = b"", *, timeout: float = END_TIMEOUT
    ) -> tuple[int, bytes]:
        """Ask the supervisor (lab/rack/supervisor.py has the list): HTTP status and body.

        ``path`` comes after the token. Raises LabError where the rack is gone, or silent for ``timeout``
        seconds.
        """
        connection = http.client.HTTPConnection(LOOPBACK, self.state.http_port, timeout=timeout)
        try:
            connection.request(method, f"/{self.state.token}{path}", body=body)
            answer = connection.getresponse()
            return answer.status, answer.read()
        except (OSError, http.client.HTTPException) as error:
            words = _tail(self.directory / "supervisor.log", 5)
            raise LabError(f"the rack in {self.directory} does not answer ({error})", hint=words) from None
        finally:
            connection.close()


def rack_directory(rack: str | Path = "default") -> Path:
    """Where a rack lies: a name is one below the user's runtime folder, a path is itself."""
    return rack.absolute() if isinstance(rack, Path) else dirs.runtime() / "rack" / rack


def _token(directory: Path) -> str:
    """The token of the rack's URLs; a directory keeps its own, so that an exporter's file stays right."""
    path = directory / "token"
    try:
        return path.read_text()
    except FileNotFoundError:
        token = secrets.token_urlsafe(16)
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_private(path, token.encode())
        return token


def _boards(machines: Mapping[str, Machine], image: Bootable, base_port: int | None) -> tuple[BoardPlan, ...]:
    for path in (image.uboot, image.squashfs):
        try:
            with path.open("rb") as file:
                if not file.read(1):
                    raise ConfigError("image file is empty", file=path, hint="lab images build")
        except OSError as error:
            raise ConfigError(f"image file cannot be read ({error.strerror})", file=path) from None
    if base_port is not None and not 1 <= base_port <= 65535 - 2 * len(machines):
        raise ConfigError(f"base port {base_port} is out of range")
    boards = []
    for number, (name, machine) in enumerate(machines.items()):
        if not NAME.fullmatch(name):
            raise ConfigError(f"'{name}' cannot name a board (letters, digits, '.', '_', '-')")
        boards.append(
            BoardPlan(
                name=name,
                **machine.model_dump(),
                uboot=str(image.uboot.absolute()),
                squashfs=str(image.squashfs.absolute()),
                serial_port=base_port + 1 + 2 * number if base_port else 0,
                ssh_port=base_port + 2 + 2 * number if base_port else 0,
            )
        )
    return tuple(boards)


def _spawn(directory: Path) -> subprocess.Popen[bytes]:
    with (directory / "supervisor.log").open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "lab.rack.supervisor", str(directory)],
            cwd=dirs.root(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log,
            # Ctrl-C is for the caller alone, who ends the rack when it has done with the boards.
            start_new_session=True,
        )


def _await(process: subprocess.Popen[bytes], directory: Path) -> None:
    """Return when the supervisor serves. Raises what it ended with."""
    assert process.stdout is not None
    with process.stdout:
        if not select.select([process.stdout], [], [], START_TIMEOUT)[0]:
            raise LabError(f"the rack's supervisor said nothing for {START_TIMEOUT:.0f} s")
        said = process.stdout.readline().decode().strip()
    if said == "ready":
        return
    status = process.wait(START_TIMEOUT)
    message = said or _tail(directory / "supervisor.log", 5) or f"exit status {status}"
    if status == ConfigError.exit_code:
        raise ConfigError(message)
    raise LabError(f"the rack did not start: {message}")


def _running(directory: Path) -> bool:
    """Whether a supervisor holds the rack's lock."""
    return lockfile.held(directory / "lock")


def _tail(path: Path, lines: int) -> str:
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - 200 * lines - 4096))
            return "".join(line.decode(errors="replace") for line in file.readlines()[-lines:])
    except FileNotFoundError:
        return ""


def _no_proxy() -> None:
    """Where a proxy is set, exempt loopback from it, for this process and those that it starts."""
    if not any(os.environ.get(name) for word in ("http_proxy", "all_proxy") for name in (word, word.upper())):
        return
    exempt = [
        word for word in (os.environ.get("no_proxy") or os.environ.get("NO_PROXY") or "").split(",") if word
    ]
    if LOOPBACK not in exempt:
        os.environ["no_proxy"] = os.environ["NO_PROXY"] = ",".join([*exempt, LOOPBACK])
