"""The process of one board: ``python -m lab.runs.board_process EVENTS PARENT``, started by `lab.runs.launch`.

EVENTS is the file descriptor that it writes its events to, PARENT the process that ends it by its end.
The first line on its standard input is the order; before it comes, it imports what every order needs. It
gets ready, says so, and waits for more lines. ``plan`` has it collect the tests while its ``lab run`` waits
for a place. At ``go`` it begins to boot, and imports pytest with its plugins while Linux starts. What comes
later is about the lease.
"""

from __future__ import annotations

import gc
import json
import os
import signal
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lab.base.errors import ConfigError, SharelabError
from lab.base.proc import die_with_parent
from lab.runs.events import EventWriter
from lab.runs.launch import PLANNED, READY, REFUSED

if TYPE_CHECKING:
    from lab.base.words import IommuMode
    from lab.imaging.own.given import Own
    from lab.runs.lab import Lab
    from lab.runs.session import Session

IDLE_PLUGINS = ("cacheprovider", "hypothesispytest", "timeout")
"""Plugins of the development tools: loading them costs a run a third of a second."""


ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""Signals that end a run."""


class Carrier:
    """A pytest plugin whose one purpose is to hand `lab.runs.plugin` the session that is open already."""

    def __init__(self, session: Session) -> None:
        self.opened_session = session


def main() -> int:
    """Do it; the exit code is pytest's."""
    die_with_parent()
    if os.getppid() != int(sys.argv[2]):
        return 0
    gc.set_threshold(20_000, 20, 20)  # as in lab.cli: what imports make is no garbage
    events = EventWriter(int(sys.argv[1]))
    # First what a rack needs, then labgrid, while the order is waited for and the rack starts.
    from lab.boards.board import preload
    from lab.boards.target import load_target
    from lab.runs.lab import Lab, place_from_environment
    from lab.runs.request import parse_modes

    preload()
    if (order := _line()) is None:  # `lab run` had no use for it
        return 0
    with ExitStack() as stack:
        try:
            target = load_target(order["target"])
            if order["vmm"]:
                target = target.with_vmm(order["vmm"])
            modes = parse_modes(order["iommu"], target)
            place = "" if order["leased"] else place_from_environment()
            lab = Lab(
                target,
                place=place,
                events=events,
                snapshots=order["snapshot"],
                switching=order["switch"],
                own=_own(order["own"]),
            )
            stack.callback(lab.close)
            lab.prepare()
        except SharelabError as error:
            events.emit(REFUSED, message=str(error), config=isinstance(error, ConfigError))
            return int(error.exit_code)
        for number in ENDING:
            signal.signal(number, lambda *_: _interrupted(lab))
        events.emit(READY)
        while (said := _line()) is not None:
            if "plan" in said:
                _plan(lab, modes, order | said["plan"], events)
            else:
                return _go(lab, modes, order | said["go"], events)
        return 0  # `lab run` has found something wrong elsewhere, or is gone


def _own(given: dict[str, Any]) -> Own | None:
    """What takes the place of parts of the image."""
    if not given:
        return None
    from lab.imaging.own.given import Own

    return Own.from_plain(given)


def _interrupted(lab: Lab) -> None:
    """The end of the run: what is done on the board just now is not waited for, but that it goes off.

    Once: `lab run` passes on a signal that some CI systems have sent to each process already.
    """
    for number in ENDING:
        signal.signal(number, signal.SIG_IGN)
    lab.stop("the run was ended")
    raise KeyboardInterrupt


def _line() -> dict[str, Any] | None:
    """What `lab run` says next. Unbuffered: what follows is for another reader."""
    line = b""
    while not line.endswith(b"\n"):
        byte = os.read(0, 1)
        if not byte:
            return None
        line += byte
    found: dict[str, Any] = json.loads(line)
    return found


def _plan(lab: Lab, modes: list[IommuMode], order: dict[str, Any], events: EventWriter) -> None:
    """Collect, write down which cells there are, and say so. Nothing is booted."""
    keep = [os.dup(number) for number in (0, 1, 2)]
    _redirect(order["output"])
    _pytest(lab, modes, order, events, "--collect-only", "-q")
    for number, old in enumerate(keep):
        os.dup2(old, number)
        os.close(old)
    events.emit(PLANNED)


def _go(lab: Lab, modes: list[IommuMode], order: dict[str, Any], events: EventWriter) -> int:
    from lab.runs.holding import Holding, Told, own

    try:
        if order["leased"]:
            told = Told(events, os.fdopen(os.dup(0)))
            os.environ.update(order["labgrid"])
            lab.take(order["labgrid"]["LG_PLACE"], holding := Holding(told))
            told.listen(holding)
        elif place := place_of(lab):
            lab.take(place, own(place))
        _redirect(order["output"])
        lab.console = Path(order["console"])
        lab.open()
    except SharelabError as error:
        events.emit(REFUSED, message=str(error), config=isinstance(error, ConfigError))
        return int(error.exit_code)
    lab.boot_early(modes[0])
    return _pytest(lab, modes, order, events)


def place_of(lab: Lab) -> str | None:
    """The place that somebody reserved for this run; None for a rack of its own."""
    return lab.place if lab.remote else None


def _redirect(output: str) -> None:
    """From now on nothing to read, and what is printed goes to a file."""
    file = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
    null = os.open(os.devnull, os.O_RDONLY)
    for number, source in ((0, null), (1, file), (2, file)):
        os.dup2(source, number)
    os.close(file)
    os.close(null)


def _pytest(
    lab: Lab, modes: list[IommuMode], order: dict[str, Any], events: EventWriter, *options: str
) -> int:
    import pytest

    from lab.base import dirs
    from lab.runs.session import Session

    session = Session(
        lab,
        modes,
        run=order["run"],
        results=Path(order["results"]),
        events=events,
        vmm=order["vmm"],
        only=order.get("only"),
        retries=order.get("retries"),
        planned=order.get("planned", False),
        planning=bool(options),
    )
    words = [*order["pytest"], "--rootdir", str(dirs.root()), "-o", "addopts=", "--tb=short", "-v", *options]
    words += [word for plugin in IDLE_PLUGINS for word in ("-p", f"no:{plugin}")]
    words += ["-p", "lab.runs.plugin"]  # by name: above a test file elsewhere there is no conftest.py of ours
    if not options:
        words += ["--lg-env", str(lab.environment)]
    return int(pytest.main(words, plugins=[Carrier(session)]))


if __name__ == "__main__":
    sys.exit(main())
