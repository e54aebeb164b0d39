"""A target's labgrid part: held against labgrid itself, and written out for one board."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from importlib import import_module
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING, Any, NamedTuple

import yaml

from lab.base import classes
from lab.base.errors import ConfigError, LabError, SharelabError

if TYPE_CHECKING:
    from lab.boards.target import Target
    from lab.imaging import Image

Location = tuple[int | str, ...]

KINDS: tuple[classes.Kind, ...] = ("resource", "driver")

HERE = "on-this-machine"
"""Name of a TFTPProvider or HTTPProvider that takes the place of an exported one."""


def check(target: Target) -> None:
    """Hold the labgrid part of ``target`` against labgrid's registered classes.

    Raises ConfigError with file and line: a module that cannot be imported, an unknown driver or
    resource class, an argument that the class does not take or lacks, a place for power, console,
    TFTP or ssh that nothing fills.
    """
    for index, module in enumerate(target.imports):
        try:
            import_module(module)
        except ImportError as error:
            raise target.error(("imports", index), f"cannot import {module} ({error})") from None
    for role, config in target.targets.items():
        where: Location = ("targets", role)
        if not isinstance(config, dict):
            raise target.error(where, f"targets.{role} must be a mapping")
        for kind in KINDS:
            for location, name, arguments in _entries(
                target, (*where, f"{kind}s"), config.get(f"{kind}s") or {}
            ):
                found = classes.problem(kind, name, arguments)
                if found is not None:
                    at = location if found.argument is None else (*location, found.argument)
                    raise target.error(at, found.message, hint=found.hint)


def _entries(target: Target, where: Location, data: Any) -> Iterator[tuple[Location, str, Mapping[str, Any]]]:
    """Class name and arguments of each entry: labgrid takes a mapping, or a list (labgrid/factory.py)."""
    if isinstance(data, dict):
        pairs: list[tuple[Location, Any, Any]] = [((*where, name), name, args) for name, args in data.items()]
    elif isinstance(data, list):
        pairs = []
        for index, item in enumerate(data):
            if not isinstance(item, dict) or not item or (len(item) > 1 and "cls" not in item):
                raise target.error((*where, index), "an entry needs one class name, or the key 'cls'")
            if "cls" in item:
                pairs.append(((*where, index), item["cls"], {k: v for k, v in item.items() if k != "cls"}))
            else:
                [(name, args)] = item.items()
                pairs.append(((*where, index, name), name, args))
    else:
        raise target.error(where, "must be a mapping or a list")
    for location, name, args in pairs:
        if not isinstance(args, dict):
            raise target.error(location, f"{name}: arguments must be a mapping ({{}} for none)")
        yield location, str(args.get("cls", name)), {k: v for k, v in args.items() if k != "cls"}


def class_names(listed: Any) -> list[str]:
    """The classes of resources or drivers that were checked, in either of labgrid's notations."""
    pairs = listed.items() if isinstance(listed, dict) else (_pair(entry) for entry in listed or ())
    return [str((arguments or {}).get("cls", name)) for name, arguments in pairs]


def _pair(entry: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]]:
    """Name and arguments of an entry of a list: ``{CLASS: {...}}`` or ``{cls: CLASS, ...}``."""
    if "cls" in entry:
        return entry["cls"], {}
    return next(iter(entry.items()))


def drivers(target: Target) -> list[str]:
    """The classes of the drivers that the target's file lists for its board."""
    return class_names(target.targets["main"].get("drivers"))


def driver_arguments(target: Target, driver: str) -> Mapping[str, Any] | None:
    """What the target's file gives ``driver``; None where it does not list it."""
    listed = target.targets["main"].get("drivers") or {}
    found = _entries(target, ("targets", "main", "drivers"), listed)
    return next((arguments for _, name, arguments in found if name == driver), None)


def binds(driver: str, offered: Iterable[str]) -> bool:
    """Whether one of the resources ``offered`` is what labgrid's ``driver`` binds to. Imports labgrid.

    Resources are named as the exporter or as the client has them: it gets RKUSBLoader as NetworkRKUSBLoader.
    """
    from labgrid import target_factory

    wanted = {
        name if isinstance(name, str) else name.__name__
        for names in target_factory.drivers[driver].bindings.values()
        for name in (names if isinstance(names, set) else {names})
        if name is not None
    }
    return any({name, f"Network{name}", f"Remote{name}"} & wanted for name in offered)


# libyaml where PyYAML was built with it: reading and writing are on the way to each boot.
_Loads: type[yaml.SafeLoader] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_Dumps: type[yaml.SafeDumper] = getattr(yaml, "CSafeDumper", yaml.SafeDumper)


class _Raw(_Loads):  # type: ignore[misc, valid-type]
    """Keeps labgrid's ``!template`` scalars apart from plain ones."""


class _Dumper(_Dumps):  # type: ignore[misc, valid-type]
    """Writes them as they were."""


_Raw.add_constructor("!template", lambda loader, node: Template(str(node.value)))
_Dumper.add_representer(Template, lambda dumper, value: dumper.represent_scalar("!template", value.template))


def write(
    target: Target,
    directory: Path,
    *,
    resources: Mapping[str, Mapping[str, Any]] | None = None,
    image: Image | None = None,
    keyfile: Path | None = None,
    boot_files: Path | None = None,
    served: Mapping[str, Mapping[str, str]] | None = None,
    dtb: Path | None = None,
    drivers: Mapping[str, Mapping[str, Any]] | None = None,
) -> Path:
    """Write ``directory/NAME.yaml``: the target as a labgrid environment of its own, and its initrd.

    ``resources``: labgrid resource class -> arguments, in the place of ``RemotePlace``. Without
    them ``RemotePlace`` stays, and ``LG_PLACE`` names the place where it is set.
    ``image`` gives kernel and initrd, ``boot_files`` a cpio archive that is appended to the initrd,
    ``keyfile`` the private key for the SSHDriver where the target names none. ``served``: TFTPProvider
    or HTTPProvider -> its arguments, for a place whose server is on this machine: an exporter makes a
    RemoteTFTPProvider of it, which labgrid reaches over ssh only. ``dtb``: the device tree that the board
    is sent, or that its edits start from. ``drivers``: labgrid's drivers for power and for what else this
    place has; they take the place of the target's own power driver. The file is a target file again.

    Raises ConfigError where the labgrid part is wrong (see `check`) or a file cannot be read.
    """
    check(target)
    data = yaml.load(target.path.read_text(encoding="utf-8"), Loader=_Raw)
    main = data["targets"]["main"]
    if resources is not None:
        main["resources"] = {name: dict(arguments) for name, arguments in resources.items()}
    if keyfile is not None:
        _default_argument(main["drivers"], "SSHDriver", "keyfile", str(keyfile.resolve()))
    if drivers is not None:
        _exchange_drivers(main, drivers)
    for kind, arguments in (served or {}).items():
        _add_resource(main, kind, {"name": HERE, **arguments})
        _default_argument(main["drivers"], f"{kind}Driver", "bindings", {"provider": HERE})
    if image is not None:
        _own_boot(data["boot"], image)
        dtb = image.dtb or dtb
    if dtb is None and image is not None and target.boot.dtb is not None:
        from lab.imaging.kernels import Kernels  # needed for few boards, and never by the virtual ones

        dtb = Kernels.of(target.image).found[0].dtb(target.boot.dtb)
    if dtb is not None:
        data["images"] = {**data.get("images", {}), "dtb": str(dtb)}
    if image is not None:
        initrd = directory / f"{target.name}.initrd"
        files = {"kernel": str(image.kernel), "initrd": str(initrd)}
        if target.boot.packed is not None:
            files["packed"] = str(image.packed)
        parts = [image.initrd]
        if target.boot.root == "http":
            parts.append(image.drivers)
            files["root"] = str(image.squashfs)
        _join(initrd, [*parts, *([boot_files] if boot_files else [])])
        data["images"] = {**data.get("images", {}), **files}
    _settle(data, {"BASE": str(target.path.parent)} | _labgrid_variables())
    path = directory / f"{target.name}.yaml"
    path.write_text(yaml.dump(data, Dumper=_Dumper, sort_keys=False), encoding="utf-8")
    return path


class Opened(NamedTuple):
    """labgrid's environment of one board, and its strategy, which has the drivers."""

    environment: Any
    strategy: Any


def opened(path: Path, name: str) -> Opened:
    """Have labgrid open the environment file ``path``; ``name`` is the board's, for messages.

    Raises ConfigError where labgrid cannot build it, LabError where its coordinator cannot be reached.
    """
    import labgrid
    from labgrid.exceptions import InvalidConfigError, NoSupplierFoundError

    try:
        environment = labgrid.Environment(str(path))
        return Opened(environment, environment.get_target("main").get_strategy())
    except (InvalidConfigError, NoSupplierFoundError) as error:
        raise ConfigError(f"labgrid: {error}", file=path) from error
    except SharelabError:
        raise
    except Exception as error:  # labgrid has no common root of its errors
        raise LabError(f"{name}: labgrid could not open the board ({error})") from error


def _own_boot(boot: dict[str, Any], image: Image) -> None:
    """What an image with parts of one's own changes in how its boards boot."""
    if image.dtb is not None:
        boot["dtb"] = str(image.dtb)  # that there is one has the board get it
    if words := image.own.get("cmdline"):
        boot["cmdline"] = " ".join(filter(None, (boot.get("cmdline", ""), words)))


def _add_resource(main: Any, name: str, arguments: Mapping[str, Any]) -> None:
    entries = main.setdefault("resources", {})
    if isinstance(entries, dict):
        entries[name] = dict(arguments)
    else:
        entries.append({name: dict(arguments)})


def _exchange_drivers(main: Any, drivers: Mapping[str, Mapping[str, Any]]) -> None:
    """Put ``drivers`` first, for labgrid binds to what is there already; with one for power among them
    those for power go that were there."""
    new = {name: dict(arguments) for name, arguments in drivers.items()}
    replaced = any(is_power(name) for name in new)
    old = main["drivers"]
    if isinstance(old, dict):
        kept = {name: arguments for name, arguments in old.items() if not (replaced and is_power(name))}
        main["drivers"] = {**new, **kept}
    else:
        left = [
            entry
            for name, entry in zip(class_names(old), old, strict=True)
            if not (replaced and is_power(name))
        ]
        main["drivers"] = [*({name: arguments} for name, arguments in new.items()), *left]


def is_power(driver: str) -> bool:
    """Whether labgrid's ``driver`` switches power. Imports labgrid."""
    from labgrid import target_factory
    from labgrid.protocol import PowerProtocol

    return issubclass(target_factory.drivers[driver], PowerProtocol)


def _default_argument(drivers: Any, name: str, argument: str, value: Any) -> None:
    entries = [drivers] if isinstance(drivers, dict) else drivers
    for entry in entries:
        if name in entry:
            entry[name].setdefault(argument, value)
        elif entry.get("cls") == name:
            entry.setdefault(argument, value)


def _labgrid_variables() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name.startswith("LG_")}


def _settle(data: Any, variables: Mapping[str, str]) -> None:
    """Replace each template whose variables are known; $BASE would mean another folder in the new file."""
    items = data.items() if isinstance(data, dict) else enumerate(data)
    for key, value in list(items):
        if isinstance(value, Template):
            text = value.safe_substitute(variables)
            data[key] = Template(text) if "$" in text else text
        elif isinstance(value, (dict, list)):
            _settle(value, variables)


def _join(path: Path, parts: list[Path]) -> None:
    """Concatenate archives, each at a multiple of 4 bytes as the kernel wants (Linux, init/initramfs.c)."""
    out = bytearray()
    for part in parts:
        try:
            out += part.read_bytes()
        except OSError as error:
            raise ConfigError(f"cannot be read ({error.strerror})", file=part) from None
        out += bytes(-len(out) % 4)
    path.write_bytes(out)
