"""``lab rack``: keep virtual boards running as lab equipment."""

from __future__ import annotations

import dataclasses
import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from lab.base import ui

if TYPE_CHECKING:
    from lab.rack import Machine, Rack

app = typer.Typer(
    help="Virtual boards as lab equipment: power over HTTP, serial console over TCP, TFTP, ssh.",
    no_args_is_help=True,
)

Directory = Annotated[
    Path | None, typer.Option("--dir", help="Where the rack keeps its state and logs.", show_default=False)
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command()
def up(
    targets: Annotated[
        list[str], typer.Argument(metavar="TARGET", help="Targets with a virtual: section; a board of each.")
    ],
    directory: Directory = None,
    base_port: Annotated[
        int | None, typer.Option(help="Use this port for power and the ones after it for the boards.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Keep a rack running in the background, all boards switched off."""
    from lab.imaging import build
    from lab.rack import Rack
    from lab.rack.exporter import exporter_yaml
    from lab.rack.layout import write_private

    machines = {name: _machine(name) for name in targets}
    place = _place(directory)
    rack = Rack.start(machines, image=build(), directory=place, base_port=base_port, ephemeral=False)
    exporter = place / "exporter.yaml"
    write_private(exporter, exporter_yaml(rack).encode())  # it holds the token
    if as_json:
        _print_json(rack)
        return
    _print_table(rack)
    first = rack.names[0]
    resources = rack.resources(first)
    lines = [
        ("power", f"curl -X PUT -d 1 {resources['NetworkPowerPort']['host']}"),
        ("console", f"nc 127.0.0.1 {resources['NetworkSerialPort']['port']}"),
        ("ssh", _ssh(rack, first)),
        ("tftp", f"ln -s FILE {resources['TFTPProvider']['internal']}"),
        ("labgrid", f"labgrid-exporter -c HOST:PORT {exporter}"),
    ]
    ui.out.print(f"\nHow to use {first}:")
    for word, command in lines:
        ui.out.print(f"  {word:<8} {command}", soft_wrap=True)


@app.command()
def status(directory: Directory = None, as_json: Json = False) -> None:
    """Power, ports and uptime of the boards in the running rack."""
    from lab.rack import Rack

    rack = Rack.attach(_place(directory))
    if as_json:
        _print_json(rack)
    else:
        _print_table(rack)


@app.command()
def down(directory: Directory = None) -> None:
    """Switch all boards off and end the rack."""
    from lab.base.errors import LabError
    from lab.rack import Rack

    place = _place(directory)
    try:
        rack = Rack.attach(place)
    except LabError:
        ui.err.print(f"no rack runs in {place}", soft_wrap=True)
        return
    rack.close()


@app.command()
def snapshots(
    clear: Annotated[bool, typer.Option("--clear", help="Remove them all.")] = False,
    as_json: Json = False,
) -> None:
    """Saved boots that virtual boards may go on from: which, how large, used when."""
    from lab.rack.snapshot import SPACE, Store

    store = Store.of_user()
    found = store.clear() if clear else store.all()
    if as_json:
        rows = [
            {"key": one.key, "bytes": one.size, "used": one.used, "machine": one.machine, "about": one.about}
            for one in found
        ]
        ui.out.print_json(json.dumps(rows))
        return
    if found:
        table = Table(box=None, pad_edge=False, header_style="bold")
        table.add_column("BOARD")
        table.add_column("BOOT")
        table.add_column("SIZE", justify="right")
        table.add_column("USED", justify="right")
        for one in found:
            used = f"{_span(time.time() - one.used)} ago"
            title = str(one.about.get("title", ""))
            table.add_row(title, one.about.get("key", one.key)[:12], f"{one.size / 1e6:.0f} MB", used)
        ui.out.print(table)
    size = sum(one.size for one in found)
    verb = "removed" if clear else f"of at most {SPACE / 1e6:.0f} MB"
    ui.out.print(f"{len(found)} snapshots, {size / 1e6:.0f} MB {verb}")


def _place(directory: Path | None) -> Path:
    from lab.rack.rack import rack_directory

    return rack_directory(directory or "default")


def _machine(name: str) -> Machine:
    from lab.base.errors import ConfigError
    from lab.boards import load_target
    from lab.rack.machine import machine

    target = load_target(name)
    if target.virtual is None:
        raise ConfigError(f"target '{name}' has no virtual: section", hint="it is a physical board")
    return machine(target.virtual, error=target.error)


def _ssh(rack: Rack, name: str) -> str:
    port = rack.resources(name)["NetworkService"]["port"]
    return f"ssh -i {rack.keyfile} -o UserKnownHostsFile={rack.known_hosts} -p {port} root@127.0.0.1"


def _print_json(rack: Rack) -> None:
    boards: dict[str, dict[str, Any]] = {}
    for name, board in rack.status().items():
        resources = rack.resources(name)
        boards[name] = {**dataclasses.asdict(board), "resources": resources, "ssh_command": _ssh(rack, name)}
    data = {
        "directory": str(rack.directory),
        "pid": rack.state.pid,
        "started": rack.state.started,
        "boards": boards,
    }
    ui.out.print_json(json.dumps(data))


def _print_table(rack: Rack) -> None:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("BOARD", "POWER", "UP", "PROCESS", "CONSOLE", "SSH"):
        table.add_column(column, no_wrap=True)
    for name, board in rack.status().items():
        power = Text("on", "green") if board.power else "off"
        uptime = _span(time.time() - board.since) if board.since is not None else "-"
        process = str(board.pid or "-")
        table.add_row(
            name, power, uptime, process, f"127.0.0.1:{board.serial}", f"root@127.0.0.1:{board.ssh}"
        )
    ui.out.print(table)
    age = _span(time.time() - rack.state.started)
    ui.out.print(f"\nrack {rack.directory}  process {rack.state.pid}  up {age}", soft_wrap=True)


def _span(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
