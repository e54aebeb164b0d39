"""The process of one board: ``python -m lab.runs.board_process ORDER``, started by `lab.runs.launch`.

It gets ready, says so, and waits for one line on its standard input. Then it begins to boot, and only
after that imports pytest with its plugins: that takes as long as U-Boot takes to load the kernel.
"""

from __future__ import annotations

import json
import os
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lab.base.errors import ConfigError, SharelabError
from lab.runs.events import EventWriter
from lab.runs.launch import READY, REFUSED

if TYPE_CHECKING:
    from lab.base.words import IommuMode
    from lab.runs.lab import Lab
    from lab.runs.session import Session

IDLE_PLUGINS = ("cacheprovider", "hypothesispytest", "timeout")
"""Plugins of the development tools: loading them costs a run a third of a second."""


class Carrier:
    """A pytest plugin whose one purpose is to hand `lab.runs.plugin` the session that is open already."""

    def __init__(self, session: Session) -> None:
        self.opened_session = session


def main() -> int:
    """Do it; the exit code is pytest's."""
    order = json.loads(sys.argv[1])
    events = EventWriter(order["events"])
    from lab.boards.board import preload

    preload()
    from lab.boards.target import load_target
    from lab.runs.lab import Lab, place_from_environment
    from lab.runs.request import parse_modes

    with ExitStack() as stack:
        try:
            target = load_target(order["target"])
            if order["vmm"]:
                target = target.with_vmm(order["vmm"])
            modes = parse_modes(order["iommu"], target)
            lab = Lab(target, place=place_from_environment(), events=events, snapshots=order["snapshot"])
            stack.callback(lab.close)
            lab.prepare()
        except SharelabError as error:
            events.emit(REFUSED, message=str(error), config=isinstance(error, ConfigError))
            return int(error.exit_code)
        events.emit(READY)
        line = sys.stdin.readline()
        if not line:  # `lab run` has found something wrong elsewhere, or is gone
            return 0
        go = json.loads(line)
        _redirect(go["output"])
        lab.open()
        lab.boot_early(modes[0])
        return _pytest(lab, modes, order | go, events)


def _redirect(output: str) -> None:
    """From now on nothing to read, and what is printed goes to a file."""
    file = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o666)
    null = os.open(os.devnull, os.O_RDONLY)
    for number, source in ((0, null), (1, file), (2, file)):
        os.dup2(source, number)
    os.close(file)
    os.close(null)


def _pytest(lab: Lab, modes: list[IommuMode], order: dict[str, Any], events: EventWriter) -> int:
    import pytest

    from lab.base import dirs
    from lab.runs.session import Session

    session = Session(
        lab, modes, run=order["run"], results=Path(order["results"]), events=events, vmm=order["vmm"]
    )
    words = [*order["pytest"], "--rootdir", str(dirs.root()), "-o", "addopts=", "--tb=short", "-v"]
    words += [word for plugin in IDLE_PLUGINS for word in ("-p", f"no:{plugin}")]
    words += ["--lg-env", str(lab.environment)]
    return int(pytest.main(words, plugins=[Carrier(session)]))


if __name__ == "__main__":
    sys.exit(main())
