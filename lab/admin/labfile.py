"""The lab file: machines, exporters and places of one lab in YAML (docs/sharing-a-lab.md).

Everything in it is checked against labgrid and against itself before anything is done with it: a
place whose resources nobody exports would only be noticed by whoever reserves it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import BeforeValidator, Field, field_validator

from lab.admin.exported import exported_class
from lab.base import classes, yamlfile
from lab.base.errors import ConfigError
from lab.base.yamlfile import Strict
from lab.boards.target import names_file

LISTEN = "127.0.0.1:20408"
LOCAL = "localhost"
LOOPBACK = re.compile(r"(127\.\d+\.\d+\.\d+|localhost|\[::1\]):\d+")
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
TAG = re.compile(r"[a-z][a-z0-9_]+")  # as labgrid wants it (labgrid/remote/common.py, TAG_KEY)
VALUE = re.compile(r"[A-Za-z0-9_.:+-]+")  # what a shell leaves alone in `lab reserve tag=value`
KEPT = ("name", "target", "lease", "health", "health_reason", "max_per_user")
"""Tags that are not written as tags: they come from other keys, or the lab itself keeps them on a place."""


def is_loopback(address: str) -> bool:
    """Whether HOST:PORT is reached from the machine itself only."""
    return LOOPBACK.fullmatch(address) is not None


class Coordinator(Strict):
    """Where labgrid's coordinator runs, a name for ssh, and the address it listens on there."""

    machine: str = LOCAL
    listen: str = LISTEN

    @field_validator("listen")
    @classmethod
    def _address(cls, value: str) -> str:
        host, _, port = value.rpartition(":")
        if not host or not port.isdigit() or not 0 < int(port) < 65536:
            raise ValueError(f"'{value}' is not HOST:PORT")
        return value

    @property
    def exposed(self) -> bool:
        """Whether other machines can reach it, and with it all boards: labgrid asks for no password."""
        return not is_loopback(self.listen)

    def address_from(self, machine: str) -> str:
        """Its address as ``machine`` has it: on its own loopback (elsewhere by tunnel), or over the net."""
        if not self.exposed:
            return self.listen
        host = "127.0.0.1" if machine == self.machine else self.machine
        return f"{host}:{self.listen.rpartition(':')[2]}"


class Exporter(Strict):
    """One labgrid exporter and what it offers: group -> resource class -> arguments.

    ``machine`` is the machine it runs on, a name for ssh; by default the coordinator's. ``hostname``
    is the address under which clients reach what it exports. With ``isolated`` they go there by ssh.
    """

    machine: str = ""
    hostname: str = ""
    isolated: bool = False
    resources: dict[str, dict[str, dict[str, Any] | None]] = Field(default_factory=dict)


class PlaceEntry(Strict):
    """One board. ``target`` names a file in ``targets/``, or is the path of one from this file's folder;
    ``matches``: the resources that belong to it.

    Without ``matches`` these are the groups that are called like the place. An empty list makes a
    place that is a lock and nothing else.
    """

    target: str = ""
    tags: dict[str, str | int] = Field(default_factory=dict)
    matches: tuple[str | dict[str, str], ...] | None = None


def _nothing_written(value: Any) -> Any:
    """``rock-1:`` with nothing behind it is a place without further words."""
    return {} if value is None else value


class LabYaml(Strict):
    """The file as it is written."""

    coordinator: Coordinator = Coordinator()
    max_per_user: int | None = Field(default=None, ge=1)
    """How many of the places one person may hold at a time."""
    exporters: dict[str, Exporter] = Field(default_factory=dict)
    places: dict[str, Annotated[PlaceEntry, BeforeValidator(_nothing_written)]] = Field(default_factory=dict)


@dataclass(frozen=True, order=True)
class Match:
    """labgrid's match of a place: ``exporter/group/class[/name]``, and a name for the client."""

    pattern: str
    rename: str = ""

    def __str__(self) -> str:
        return f"{self.pattern} as {self.rename}" if self.rename else self.pattern

    def fits(self, exporter: str, group: str, cls: str, name: str) -> bool:
        """Whether a resource belongs to the place, as labgrid sees it (ResourceMatch.ismatch)."""
        return all(map(fnmatchcase, (exporter, group, cls, name), self.pattern.split("/")))


@dataclass(frozen=True)
class WantedPlace:
    """A place as the coordinator is to have it."""

    name: str
    tags: Mapping[str, str]
    matches: tuple[Match, ...]


@dataclass(frozen=True)
class LabFile:
    """A lab file that was checked."""

    path: Path
    content: LabYaml
    node: yaml.Node | None
    places: tuple[WantedPlace, ...]

    @property
    def coordinator(self) -> Coordinator:
        """Where the coordinator runs."""
        return self.content.coordinator

    @property
    def address(self) -> str:
        """Where clients reach the coordinator; on another machine's loopback: the tunnel's end here."""
        return self.coordinator.address_from(LOCAL)

    @property
    def exporters(self) -> dict[str, Exporter]:
        """The exporters, with machine and hostname filled in."""
        return {name: self._complete(exporter) for name, exporter in self.content.exporters.items()}

    @property
    def machines(self) -> list[str]:
        """All machines of the lab, the coordinator's first."""
        found = [self.coordinator.machine, *(one.machine for one in self.exporters.values())]
        return list(dict.fromkeys(found))

    def _complete(self, exporter: Exporter) -> Exporter:
        machine = exporter.machine or self.coordinator.machine
        hostname = exporter.hostname or ("127.0.0.1" if machine == LOCAL else machine)
        return exporter.model_copy(update={"machine": machine, "hostname": hostname})


def load(path: Path, soc_of: Callable[[str], str]) -> LabFile:
    """Read and check the lab file ``path``. ``soc_of`` gives a target's SoC, or raises ConfigError.

    Raises ConfigError with file and line. Imports labgrid (0.6 s), which knows its resource classes.
    """
    content, node = yamlfile.load_with_lines(path, LabYaml)
    reader = _Reader(path, content, node, soc_of)
    reader.check_exporters()
    return LabFile(path, content, node, tuple(map(reader.place, content.places)))


@dataclass(frozen=True)
class _Reader:
    """The checks that a model of one key cannot do."""

    path: Path
    content: LabYaml
    node: yaml.Node | None
    soc_of: Callable[[str], str]

    def error(self, location: tuple[int | str, ...], message: str, hint: str = "") -> ConfigError:
        line = yamlfile.line_of(self.node, location)
        return ConfigError(message, file=self.path, line=line, hint=hint)

    def check_exporters(self) -> None:
        for name, exporter in self.content.exporters.items():
            self._check_name(("exporters", name), name)
            for group, resources in exporter.resources.items():
                at = ("exporters", name, "resources", group)
                self._check_name(at, group)
                for key, arguments in resources.items():
                    self._check_resource((*at, key), key, arguments or {})

    def _check_name(self, location: tuple[int | str, ...], name: str) -> None:
        if not NAME.fullmatch(name):
            raise self.error(location, f"'{name}' cannot be a name", "letters, digits, '.', '_' and '-'")

    def _check_resource(self, location: tuple[str, ...], key: str, arguments: Mapping[str, Any]) -> None:
        given = {argument: value for argument, value in arguments.items() if argument != "cls"}
        found = classes.problem("resource", str(arguments.get("cls", key)), given)
        if found is not None:
            at = location if found.argument is None else (*location, found.argument)
            raise self.error(at, found.message, found.hint)

    def place(self, name: str) -> WantedPlace:
        self._check_name(("places", name), name)
        entry = self.content.places[name]
        tags = {key: self._tag(name, key, value) for key, value in entry.tags.items()}
        if entry.target:
            tags = self._target(name, entry.target) | tags
        if self.content.max_per_user:
            tags["max_per_user"] = str(self.content.max_per_user)
        matches = self._matches(name, entry)
        for number, match in enumerate(matches if self.content.exporters else ()):
            if not any(match.fits(*path) for path in self._exported()):
                where = () if entry.matches is None else ("matches", number)
                raise self.error(("places", name, *where), *self._nothing(match, entry, name))
        return WantedPlace(name, tags, matches)

    def _target(self, place: str, target: str) -> dict[str, str]:
        """The tags by which a target is known. A file, not yet one of ``targets/``, lies beside the lab's."""
        if names_file(target):  # whole, for commands are given in any folder
            target = str(self.path.resolve().parent / target)
        try:
            return {"target": target, "soc": self.soc_of(target)}
        except ConfigError as error:
            raise self.error(("places", place, "target"), error.message, error.hint) from None

    def _tag(self, place: str, key: str, value: str | int) -> str:
        at = ("places", place, "tags", key)
        if not TAG.fullmatch(key):
            raise self.error(at, f"'{key}' cannot be a tag", "small letters, digits and '_', two at least")
        if key in KEPT or (key == "soc" and self.content.places[place].target):
            hint = {"target": f"write target: at {place} itself", "soc": "it comes from the target"}
            raise self.error(at, f"the tag '{key}' is not a file's to set", hint.get(key, "the lab keeps it"))
        if not VALUE.fullmatch(str(value)):
            raise self.error(at, f"'{value}' cannot be a tag's value", "letters, digits and '_.:+-'")
        return str(value)

    def _matches(self, place: str, entry: PlaceEntry) -> tuple[Match, ...]:
        if entry.matches is None:
            here = [name for name, one in self.content.exporters.items() if place in one.resources]
            return tuple(Match(f"{name}/{place}/*") for name in here or ["*"])
        found: list[Match] = []
        for number, one in enumerate(entry.matches):
            at = ("places", place, "matches", number)
            if isinstance(one, dict) and len(one) != 1:
                raise self.error(at, "a match with a name is one pair, PATTERN: NAME")
            pattern, rename = next(iter(one.items())) if isinstance(one, dict) else (one, "")
            if not 2 <= pattern.count("/") <= 3:
                raise self.error(at, f"'{pattern}' is not a match", "EXPORTER/GROUP/CLASS[/NAME]")
            if pattern in [match.pattern for match in found]:
                raise self.error(at, f"the match '{pattern}' stands twice")
            found.append(Match(pattern, rename))
        return tuple(found)

    def _exported(self) -> Iterator[tuple[str, str, str, str]]:
        """Every resource as labgrid matches it: exporter, group, class, name."""
        for exporter, one in self.content.exporters.items():
            for group, resources in one.resources.items():
                for key, arguments in resources.items():
                    yield exporter, group, exported_class(str((arguments or {}).get("cls", key))), key

    def _nothing(self, match: Match, entry: PlaceEntry, place: str) -> tuple[str, str]:
        groups = sorted(f"{exporter}/{group}" for exporter, group, *_ in set(self._exported()))
        known = f"exported are {', '.join(groups)}" if groups else "no exporter here has resources"
        if entry.matches is None:
            return f"no exporter has a group '{place}'", f"{known}; or write matches:"
        return f"'{match.pattern}' matches nothing", known
