"""``lab units``: what the machines of a lab run, written from its one file."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lab.base import ui

if TYPE_CHECKING:
    from lab.admin.labfile import LabFile

LabYaml = Annotated[Path, typer.Argument(metavar="LAB.yaml", help="The lab's file.")]


def load_lab(path: Path) -> LabFile:
    """Read and check a lab file. Raises ConfigError with file and line."""
    from lab.admin.labfile import load
    from lab.boards.target import load_target

    return load(path, lambda target: load_target(target).soc)


def units(
    file: LabYaml,
    directory: Annotated[Path, typer.Option("--dir", help="Where to write: a folder a machine.")] = Path(
        "units"
    ),
    bin_directory: Annotated[
        Path | None,
        typer.Option("--bin", help="Where `lab` is on those machines.", show_default="where this one is"),
    ] = None,
    system: Annotated[
        bool, typer.Option("--system", help="Units of the system instead of a user's; needs root there.")
    ] = False,
) -> None:
    """Write exporter configurations and systemd units for every machine of a lab.

    The coordinator's machine gets it and the janitor. A machine with an exporter
    gets that, and an ssh tunnel where the coordinator is on another machine and
    listens on loopback only. The install.sh in each folder can be run again
    after each change.
    """
    from lab.admin.units import Setting, how_to_install, write

    lab = load_lab(file)
    setting = Setting((bin_directory or Path(sys.executable).parent).absolute(), system)
    written = write(lab, directory, setting)
    for machine, files in written.items():
        ui.out.print(f"{machine:<12} {', '.join(path.name for path in files)}", soft_wrap=True)
    ui.out.print("\nRead them, then install:")
    for command in how_to_install(lab, [directory / machine for machine in written]):
        ui.out.print(f"  {command}", soft_wrap=True)
    ui.out.print(f"Then the places:\n  lab sync {file}", soft_wrap=True)
