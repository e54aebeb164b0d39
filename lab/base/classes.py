"""labgrid's resource and driver classes: is there such a one, does it take these arguments."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

Kind = Literal["resource", "driver"]


@dataclass(frozen=True)
class Problem:
    """What is wrong with one entry. ``argument``: the one it is about; None: the entry as a whole."""

    message: str
    argument: str | None = None
    hint: str = ""


def problem(kind: Kind, name: str, arguments: Mapping[str, Any]) -> Problem | None:
    """What labgrid would refuse in ``name`` with ``arguments``; None where it takes them.

    Imports labgrid (0.6 s). Values that hold a ``$`` are templates, known only where they are used.
    """
    from labgrid import target_factory

    classes = target_factory.resources if kind == "resource" else target_factory.drivers
    if name not in classes:
        close = difflib.get_close_matches(name, classes, n=3)
        hint = f"did you mean {' or '.join(close)}?" if close else ""
        return Problem(f"labgrid has no {kind} class '{name}'", hint=hint)
    return _arguments(kind, name, classes[name], arguments)


def _arguments(kind: Kind, name: str, cls: Any, arguments: Mapping[str, Any]) -> Problem | None:
    import attr

    general = {"name", "target"} | ({"bindings"} if kind == "driver" else set())
    fields = {field.alias: field for field in attr.fields(cls) if field.init and field.name not in general}
    for argument, value in arguments.items():
        if argument in general:
            continue
        if argument not in fields:
            known = ", ".join(sorted(fields)) or "none"
            return Problem(f"{name} takes no '{argument}' (known: {known})", argument)
        if isinstance(value, str) and "$" in value:
            continue
        field = fields[argument]
        try:
            converted = field.converter(value) if callable(field.converter) else value
            if field.validator is not None:
                field.validator(None, field, converted)
        except (TypeError, ValueError):
            return Problem(f"{name}.{argument} cannot be {value!r} ({type(value).__name__})", argument)
    for argument, field in fields.items():
        if field.default is attr.NOTHING and argument not in arguments:
            return Problem(f"{name} needs '{argument}'")
    return None
