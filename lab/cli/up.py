"""``lab up``, ``lab down``: a lab on this one machine, to try everything with."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lab.base import ui

if TYPE_CHECKING:
    from lab.boards import Target
    from lab.places import Session

EXPORTER = "virtual"
LISTEN = "127.0.0.1:20408"
TARGETS = ["virt-smmu", "virt-dma32"]


def up(
    targets: Annotated[
        list[str] | None,
        typer.Argument(metavar="TARGET", help=f"Virtual targets (default: {' '.join(TARGETS)})."),
    ] = None,
    boards: Annotated[int, typer.Option("--boards", "-n", min=0, help="So many boards of each target.")] = 1,
    listen: Annotated[
        str,
        typer.Option(metavar="HOST:PORT", help="Where the coordinator listens (:0 takes a free port)."),
    ] = LISTEN,
) -> None:
    """Start a lab on this machine: coordinator, exporter, janitor, and a rack of virtual boards, all off.

    It stays until lab down. With --boards 0 there is no rack: a coordinator and a janitor for real boards.
    """
    from lab.places import connect, supervisor
    from lab.places.address import address_file

    directory = address_file().parent
    if supervisor.running(directory):
        ui.out.print("a lab runs on this machine already (lab down ends it).\n")
    else:
        found = _targets(targets or TARGETS) if boards else []
        names = {f"{target.name}-{number}": target for target in found for number in range(1, boards + 1)}
        address = _free(listen)
        exporters = {EXPORTER: str(_rack(names))} if names else {}
        try:
            with ui.task("coordinator"):
                supervisor.start(directory, supervisor.Plan(address, str(_coordinator_state()), exporters))
            with connect(supervisor.reachable(address)) as session:
                _places(session, names)
        except BaseException:
            _end_rack()
            raise
    with connect(_address(directory)) as session:
        _how_to(session, directory)


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
            hint = "lab up --boards 0, then lab sync LAB.yaml (docs/first-board.md)"
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
    return (directory / "coordinator").read_text(encoding="utf-8")


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


def _how_to(session: Session, directory: Path) -> None:
    from lab.cli.boards import picture

    for _ in session.events(pause=0.1, idle=0.5):
        if all(one.live for one in session.places()) or session.online is False:
            break  # the exporter needs a second
    ui.out.print(picture(session, {}))
    host = session.address.rpartition(":")[0]
    lines = [
        ("try", "lab reserve soc=qemu-virt --for 1h, then lab boot, lab shell, lab console, lab release"),
        ("stop", "lab down"),
        ("logs", f"{directory}/*.log"),
        ("real boards", "describe them in LAB.yaml, then lab sync LAB.yaml (docs/first-board.md)"),
        ("from elsewhere", f"ssh -L 20408:{session.address} {socket.gethostname()}, then lab boards there"),
    ]
    ui.out.print(f"\ncoordinator {session.address}")
    for word, text in lines:
        ui.out.print(f"  {word:<15} {text}", soft_wrap=True, markup=False)
    if host not in ("127.0.0.1", "localhost", "[::1]"):
        ui.err.print(
            "labgrid asks nobody who he is: all who reach this address can take, free or switch the boards.",
            style="yellow",
        )
