"""The facts about lab equipment, against labgrid's classes. Nothing is opened."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from lab.base import classes
from lab.base.errors import ConfigError
from lab.boards import environment
from lab.boards.checks.finding import Finding, State, ok, wrong
from lab.boards.target import Target


def findings(target: Target) -> Iterator[Finding]:
    """Each class of labgrid that the target names: it is there and takes its arguments. Imports labgrid."""
    try:
        environment.check(target)
        yield ok("targets", f"labgrid takes them: {', '.join(_named(target.targets))}")
    except ConfigError as error:
        message = str(error).removeprefix(f"{error.file}:{error.line}: ")
        yield Finding("targets", State.WRONG, message, error.line)
    for name, arguments in target.hookup.resources.items():
        yield _class("resource", name, arguments)
    for name, arguments in target.hookup.drivers.items():
        found = _class("driver", name, arguments)
        yield found
        if found == _good("driver", name) and not environment.binds(name, target.hookup.resources):
            yield wrong(f"hookup.drivers.{name}", "nothing among hookup.resources is what it binds to")


def _class(kind: classes.Kind, name: str, arguments: Mapping[str, Any]) -> Finding:
    found = classes.problem(kind, name, arguments)
    if found is None:
        return _good(kind, name)
    argument = f".{found.argument}" if found.argument else ""
    hint = f": {found.hint}" if found.hint else ""
    return wrong(f"hookup.{kind}s.{name}{argument}", f"{found.message}{hint}")


def _good(kind: classes.Kind, name: str) -> Finding:
    return ok(f"hookup.{kind}s.{name}", "labgrid takes it")


def _named(targets: Mapping[str, Any]) -> Iterator[str]:
    for config in targets.values():
        yield from environment.class_names(config.get("resources"))
        yield from environment.class_names(config.get("drivers"))
