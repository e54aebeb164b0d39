"""From a lab file to what its machines run: exporter configurations, systemd units, an install script."""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import yaml

from lab.admin.labfile import LOCAL, Exporter, LabFile
from lab.admin.templates import render


@dataclass(frozen=True)
class Setting:
    """How the units run. ``bin``: the folder of ``lab``; ``system``: as system units, or the user's."""

    bin: Path
    system: bool = False


def write(lab: LabFile, directory: Path, setting: Setting) -> dict[str, list[Path]]:
    """Write ``directory/MACHINE/...`` for each machine of ``lab``; the files of each.

    A file that was written for an exporter which is gone stays: whoever removes a board's exporter
    has to stop its unit too.
    """
    written: dict[str, list[Path]] = {}
    for machine in lab.machines:
        files = machine_files(lab, machine, setting)
        folder = directory / machine
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in files.items():
            (folder / name).write_text(text, encoding="utf-8")
            if name.endswith(".yaml"):
                (folder / name).chmod(0o600)  # power ports may have passwords in their URLs
        written[machine] = [folder / name for name in files]
    return written


def machine_files(lab: LabFile, machine: str, setting: Setting) -> dict[str, str]:
    """File name -> text of what ``machine`` runs."""
    listen, server = lab.coordinator.listen, lab.coordinator.machine
    here = {name: one for name, one in lab.exporters.items() if one.machine == machine}
    tunnel = machine != server and not lab.coordinator.exposed
    common = {
        "bin": str(setting.bin),
        "system": setting.system,
        "target": "multi-user.target" if setting.system else "default.target",
        "listen": listen,
        "server": server,
        "tunnel": tunnel,
    }
    kinds = ["coordinator", "janitor"] if machine == server else ["tunnel"] if tunnel else []
    files = {f"sharelab-{kind}.service": render(f"units/{kind}.service", **common) for kind in kinds}
    for name, exporter in here.items():
        files[f"exporter-{name}.yaml"] = exporter_yaml(lab, exporter)
        files[f"sharelab-exporter-{name}.service"] = render(
            "units/exporter.service",
            **common,
            name=name,
            hostname=exporter.hostname,
            isolated=exporter.isolated,
            address=lab.coordinator.address_from(machine),
        )
    units = [name for name in files if name.endswith(".service")]
    files["install.sh"] = render(
        "units/install.sh", **common, units=units, exporters=here, coordinator=machine == server
    )
    return files


def exporter_yaml(lab: LabFile, exporter: Exporter) -> str:
    """The text for ``labgrid-exporter``. It reads it through Jinja2, which must leave our values alone."""
    head = f"## Written by `lab units` from {lab.path.name}; change that one.\n"
    body = yaml.safe_dump(_plain(exporter.resources), sort_keys=False, allow_unicode=True)
    return f"{head}{{% raw %}}\n{body}{{% endraw %}}\n"


def _plain(resources: dict[str, dict[str, dict[str, object] | None]]) -> dict[str, object]:
    """As written, with ``{}`` for no arguments: labgrid skips a resource that is null."""
    return {group: {cls: found or {} for cls, found in some.items()} for group, some in resources.items()}


def how_to_install(lab: LabFile, folders: Iterable[Path]) -> list[str]:
    """The commands, one a machine; the coordinator's comes first, the others connect to it."""
    commands = []
    for folder in folders:
        name = folder.name
        here = shlex.quote(str(folder))
        local = f"sh {shlex.quote(str(folder / 'install.sh'))}"
        remote = f"scp -r {here} {name}: && ssh {name} sh {name}/install.sh"
        commands.append(local if name == LOCAL else remote)
    return commands
