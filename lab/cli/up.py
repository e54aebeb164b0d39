"""``lab up``, ``lab down``: a lab on this one machine, to try everything with."""

from __future__ import annotations

import socket
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lab.base import ui
from lab.cli.sync import bring_in_line, next_steps
from lab.cli.units import load_lab

if TYPE_CHECKING:
    from lab.admin.labfile import LabFile
    from lab.boards import Target
    from lab.places import Session

EXPORTER = "virtual"
LISTEN = "127.0.0.1:20408"
TARGETS = ["virt-smmu", "virt-dma32"]
PATIENCE = 10.0
"""Seconds until exporters and janitor are up, as a rule one or two; what is not there then is shown so."""


def up(
    targets: Annotated[
        list[str] | None,
        typer.Argument(metavar="TARGET", help=f"Virtual targets (default: {' '.join(TARGETS)})."),
    ] = None,
    boards: Annotated[int, typer.Option("--boards", "-n", min=0, help="Boards of each target.")] = 1,
    file: Annotated[
        Path | None,
        typer.Option("--lab", metavar="LAB.yaml", help="Real boards: the exporters and places of this file."),
    ] = None,
    listen: Annotated[
        str | None,
        typer.Option(
            metavar="HOST:PORT",
            help="Where the coordinator listens; :0 takes a free port.",
            show_default=f"as the file says, or {LISTEN}",
        ),
    ] = None,
) -> None:
    """Start a lab on this machine: coordinator, exporter, janitor, and a rack of virtual boards, all off.

    It stays until lab down. With --lab and no TARGET there is no rack, but what
    the lab's file has on this machine (docs/first-board.md); for a lab that is
    to outlive a restart of the machine: lab units.
    """
    from lab.places import connect, supervisor
    from lab.places.address import address_file

    lab = load_lab(file) if file else None
    directory = address_file().parent
    if supervisor.running(directory):
        ui.out.print("a lab runs on this machine already (lab down ends it).\n")
    else:
        found = _targets(targets or ([] if lab else TARGETS)) if boards else []
        names = {f"{target.name}-{number}": target for target in found for number in range(1, boards + 1)}
        exporters = _real_exporters(lab) if lab else {}
        address = _free(listen or (lab.coordinator.listen if lab else LISTEN))
        exporters |= {EXPORTER: str(_rack(names))} if names else {}
        try:
            with ui.task("coordinator"):
                supervisor.start(directory, supervisor.Plan(address, str(_coordinator_state()), exporters))
            with connect(supervisor.reachable(address)) as session:
                _places(session, names)
                if lab:
                    bring_in_line(lab, session)
        except BaseException:
            _end_rack()
            raise
    with connect(_address(directory)) as session:
        _how_to(session, directory, file)
        if lab:
            next_steps(lab, session)


def down(
    force: Annotated[bool, typer.Option("--force", help="Even while somebody holds a board.")] = False,
) -> None:
    """End the lab that lab up started: its boards are switched off, its places are kept for the next time."""
    from lab.base.errors import LabError
    from lab.cli.coordinator import who
    from lab.places import connect, supervisor
    from lab.places.address import address_file

    directory = address_file().parent
    if supervisor.running(directory) is None:
        ui.out.print("no lab runs on this machine.")
    else:
        if not force:
            with connect(_address(directory)) as session:
                held = [f"{one.name} ({who(one.acquired)})" for one in session.places() if one.acquired]
            if held:
                raise LabError(f"in use: {', '.join(held)}", hint="lab release, or lab down --force")
        supervisor.end(directory)
        ui.out.print("the lab has ended.")
    _end_rack()


def _targets(names: list[str]) -> list[Target]:
    from lab.base.errors import ConfigError
    from lab.boards import load_target

    found = [load_target(name) for name in dict.fromkeys(names)]
    for target in found:
        if target.virtual is None:
            hint = "lab up --lab LAB.yaml (docs/first-board.md)"
            raise ConfigError(f"'{target.name}' is a physical board", hint=hint)
    return found


def _rack(names: dict[str, Target]) -> Path:
    """A rack with these boards; the exporter's configuration for it."""
    from lab.imaging import build
    from lab.places.address import address_file
    from lab.rack import Rack
    from lab.rack.exporter import exporter_yaml
    from lab.rack.layout import write_private
    from lab.rack.machine import machine

    machines = {}
    for name, target in names.items():
        assert target.virtual is not None
        machines[name] = machine(target.virtual, error=target.error)
    rack = Rack.start(machines, image=build(), directory=_rack_directory(), ephemeral=False)
    path = address_file().parent / "exporter.yaml"
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    write_private(path, exporter_yaml(rack).encode())  # it holds the token of the power URLs
    return path


def _real_exporters(lab: LabFile) -> dict[str, str]:
    """The configurations of the exporters that a lab file has on this machine."""
    from lab.admin.labfile import LOCAL
    from lab.admin.units import exporter_yaml
    from lab.base.errors import ConfigError
    from lab.places.address import address_file
    from lab.rack.layout import write_private

    if lab.coordinator.machine != LOCAL:
        where = f"its coordinator runs on {lab.coordinator.machine}, by {lab.path}"
        raise ConfigError(where, hint=f"lab units {lab.path}, or no machine: in the file")
    written = {}
    for name, exporter in lab.exporters.items():
        if exporter.machine == LOCAL:
            path = address_file().parent / f"exporter-{name}.yaml"
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            write_private(path, exporter_yaml(lab, exporter).encode())
            written[name] = str(path)
    return written


def _end_rack() -> None:
    from lab.base.errors import LabError
    from lab.rack import Rack

    try:
        Rack.attach(_rack_directory()).close()
    except LabError:
        return  # there is none


def _rack_directory() -> Path:
    from lab.rack.rack import rack_directory

    return rack_directory("lab")


def _coordinator_state() -> Path:
    from lab.base import dirs

    return dirs.state() / "coordinator"


def _address(directory: Path) -> str:
    """Where the coordinator of the lab that runs here listens. LabError while that does not answer yet."""
    from lab.base.errors import LabError

    try:
        return (directory / "coordinator").read_text(encoding="utf-8")
    except FileNotFoundError:
        raise LabError("a lab is just being started or ended here", hint="try again in a moment") from None


def _free(listen: str) -> str:
    """``listen`` with a port that is free. Raises ConfigError."""
    from lab.base.errors import ConfigError
    from lab.places.address import with_port

    host, _, port = with_port(listen).rpartition(":")
    family = socket.AF_INET6 if host.startswith("[") else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host.strip("[]"), int(port)))
        except (OSError, OverflowError, ValueError) as error:
            said = getattr(error, "strerror", None) or error
            hint = f"another coordinator, perhaps: lab boards --coordinator {listen}; or --listen 127.0.0.1:0"
            raise ConfigError(f"cannot listen on {listen} ({said})", hint=hint) from None
        return f"{host}:{probe.getsockname()[1]}"


def _places(session: Session, names: dict[str, Target]) -> None:
    """Make the coordinator's places those of the rack; others, of real boards, stay as they are."""
    from lab.places import Health

    known = {one.name: one for one in session.places()}
    for place in known.values():
        if place.matches == (f"{EXPORTER}/{place.name}/*",) and place.name not in names:
            session.delete(place.name)
    for name, target in names.items():
        tags = {"target": target.name, "soc": target.soc, "virtual": "yes"}
        if name in known:
            session.set_tags(name, tags)
        else:
            session.create(name, tags, [f"{EXPORTER}/{name}/*"])
            session.set_health(name, Health.HEALTHY)


def _how_to(session: Session, directory: Path, file: Path | None) -> None:
    from lab.cli.boards import picture

    end = time.monotonic() + PATIENCE
    for _ in session.events(pause=0.1, idle=0.3):
        ready = all(one.live for one in session.places()) and session.janitor() is not None
        if ready or time.monotonic() > end:
            break
    ui.out.print(picture(session, {}))
    host = session.address.rpartition(":")[0]
    socs = [one.soc for one in session.places() if one.soc and not one.unfit()] or ["NAME"]
    lines = [
        ("try", f"lab reserve soc={socs[0]} --for 1h, then lab boot, lab shell, lab console, lab release"),
        ("stop", "lab down"),
        ("logs", f"{directory}/*.log"),
        ("changes", f"in {file}: lab down, then lab up --lab {file}")
        if file
        else ("real boards", "in LAB.yaml: lab down, then lab up --lab LAB.yaml (docs/first-board.md)"),
        ("from elsewhere", f"ssh -L 20408:{session.address} {socket.gethostname()}, then lab boards there"),
    ]
    ui.out.print(f"\ncoordinator {session.address}")
    for word, text in lines:
        ui.out.print(f"  {word:<15} {text}", soft_wrap=True)
    if host not in ("127.0.0.1", "localhost", "[::1]"):
        ui.err.print(
            "labgrid has no passwords: whoever reaches this address can take, free or switch the boards.",
            style="yellow",
        )
