"""YAML files that are checked against a model, with errors that name file and line."""

from __future__ import annotations

from collections.abc import Hashable
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_args, get_origin

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from lab.base.errors import ConfigError

M = TypeVar("M", bound=BaseModel)


class Strict(BaseModel):
    """Base of all models that users write in YAML: unknown keys are errors, values do not change."""

    model_config = ConfigDict(extra="forbid", frozen=True)


# libyaml's parser is ten times faster; wheels have it, a build from source may not
_Base = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _Loader(_Base):  # type: ignore[misc,valid-type]
    """SafeLoader that reads labgrid's ``!template`` as its text and refuses duplicate keys."""


def _mapping(loader: _Loader, node: yaml.MappingNode) -> dict[Any, Any]:
    loader.flatten_mapping(node)
    seen: set[Any] = set()
    for key_node, _ in node.value:
        key = loader.construct_object(key_node)
        if not isinstance(key, Hashable):
            raise yaml.MarkedYAMLError(
                problem="a list or a mapping is no key", problem_mark=key_node.start_mark
            )
        if key in seen:
            raise yaml.MarkedYAMLError(problem=f"key {key!r} stands twice", problem_mark=key_node.start_mark)
        seen.add(key)
    data: dict[Any, Any] = loader.construct_mapping(node, deep=True)
    return data


_Loader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping)


def _template(loader: _Loader, node: yaml.ScalarNode) -> str:
    return str(loader.construct_scalar(node))


_Loader.add_constructor("!template", _template)


def _scalar(construct: Any) -> Any:
    """What looks like a date or a number and is none is told with its line, as everything else is."""

    def checked(loader: _Loader, node: yaml.ScalarNode) -> Any:
        try:
            return construct(loader, node)
        except ValueError as error:
            raise yaml.MarkedYAMLError(
                problem=f"'{node.value}' cannot be read ({error})", problem_mark=node.start_mark
            ) from None

    return checked


for _tag in ("timestamp", "int", "float"):
    _full = f"tag:yaml.org,2002:{_tag}"
    _Loader.add_constructor(_full, _scalar(yaml.SafeLoader.yaml_constructors[_full]))


def read(path: Path) -> tuple[Any, yaml.Node | None]:
    """The data of ``path`` and its node tree, which knows the lines.

    Raises ConfigError with file and line where the file is missing, unreadable or no YAML.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigError("no such file", file=path) from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot be read ({error})", file=path) from None
    try:
        loader = _Loader(text)
        try:
            node = loader.get_single_node()
            return (None if node is None else loader.construct_document(node)), node
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        problem = error.problem or "not valid YAML"
        raise ConfigError(problem, file=path, line=mark.line + 1 if mark else None) from None
    except yaml.YAMLError as error:
        raise ConfigError(f"not valid YAML ({' '.join(str(error).split())})", file=path) from None
    except RecursionError:
        raise ConfigError("not valid YAML (nested too deep)", file=path) from None


def line_of(node: yaml.Node | None, location: tuple[int | str, ...]) -> int | None:
    """The line (from 1) of the deepest part of ``location`` that the document holds."""
    if node is None:
        return None
    line = node.start_mark.line + 1
    for part in location:
        if isinstance(node, yaml.MappingNode):
            for key, value in node.value:
                if key.value == str(part):
                    line, node = key.start_mark.line + 1, value
                    break
            else:
                return line
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
            node = node.value[part]
            line = node.start_mark.line + 1
        else:
            return line
    return line


def load(path: Path, model: type[M]) -> M:
    """Read ``path`` into ``model``.

    Raises ConfigError: one line that names the file, the line and the key.
    """
    return load_with_lines(path, model)[0]


def load_with_lines(path: Path, model: type[M]) -> tuple[M, yaml.Node | None]:
    """As `load`, with the node tree for `line_of`, for checks that come later."""
    data, node = read(path)
    try:
        return model.model_validate(data), node
    except ValidationError as error:
        # a misspelt key makes two errors, one of them that the right one is missing
        first = min(error.errors(), key=lambda one: one["type"] != "extra_forbidden")
        location = first["loc"]
        key = ".".join(str(part) for part in location) or "document"
        if first["type"] == "extra_forbidden":
            known = _known_keys(model, location[:-1])
            message = f"unknown key '{key}'" + (f" (known: {', '.join(known)})" if known else "")
        elif first["type"] in ("model_type", "dict_type") and (known := _known_keys(model, location)):
            message = f"{key}: keys and values are wanted here (known: {', '.join(known)})"
        elif first["type"] == "missing":
            message = f"key '{key}' is missing"
        else:
            message = f"{key}: {first['msg'].removeprefix('Value error, ')}"
        raise ConfigError(message, file=path, line=line_of(node, location)) from None


def _known_keys(model: type[BaseModel], location: tuple[int | str, ...]) -> list[str]:
    """The keys that ``model`` has at ``location``; empty where they may be any."""
    current: Any = model
    for part in location:
        if field := getattr(current, "model_fields", {}).get(part):
            current = field.annotation
        else:  # a name of one's own, or a place in a list: what its values are
            current = (get_args(current) or (None,))[-1]
        if get_origin(current) is Annotated:
            current = get_args(current)[0]
    fields = getattr(current, "model_fields", {})
    return sorted(field.alias or name for name, field in fields.items())
