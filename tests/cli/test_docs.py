"""Commands that README and docs show are there, with the options that they show."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import typer

from lab.base import dirs
from lab.cli.app import app

FILES = [dirs.root() / "README.md", *sorted((dirs.root() / "docs").glob("*.md"))]
SHOWN = re.compile(r"`(lab [a-z][^`]*)`|^ *(?:\$ )?(lab [a-z].*)$", re.MULTILINE)
"""In the text, or a line of its own."""
LAB = typer.main.get_command(app)
ENDS = re.compile(r"\s(?:#|&&|\||->|--\s)|[;…|]|\.\.\.|,\s|\s{2}")
"""What follows is no part of the command: a remark, the next one, a choice, another program's words."""


def shown(text: str) -> list[str]:
    """Commands in ``text``."""
    found = [one or line for one, line in SHOWN.findall(text)]
    return [ENDS.split(f"{command} ")[0].strip() for command in found]


def parse(command: str) -> None:
    """Raises LookupError for a command or an option that is not there."""
    _, *words = shlex.split(command)
    at: Any = LAB
    while words and hasattr(at, "commands"):
        name = words.pop(0)
        if name not in at.commands:
            raise LookupError(f"no command {name}")
        at = at.commands[name]
    known = {option for given in at.params for option in (*given.opts, *given.secondary_opts)}
    for word in words:
        option = word.partition("=")[0] if word.startswith("--") else word[:2]
        if option.startswith("-") and option not in (*known, "-h", "--help"):
            raise LookupError(f"no option {option}")


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_commands_that_are_shown_exist(path: Path):
    wrong = []
    for command in shown(path.read_text()):
        try:
            parse(command)
        except (LookupError, ValueError) as error:
            wrong.append(f"{command}: {error}")
    assert not wrong


def test_what_is_not_there_is_noticed():
    text = (
        "`lab runs`, `lab run --nope`\n\n    $ lab vm begin   # a remark\n\nlab reserve soc=x -- lab nope\n"
    )
    commands = shown(text)
    assert commands == ["lab runs", "lab run --nope", "lab vm begin", "lab reserve soc=x"]
    for command in commands[:3]:
        with pytest.raises(LookupError):
            parse(command)
    parse(commands[3])


def test_most_of_the_commands_are_shown():
    assert len({command for path in FILES for command in shown(path.read_text())}) > 100
