"""The boards of a running rack, for commands that work on one of them and leave it running."""

from __future__ import annotations

import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lab.base import ui

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lab.boards import Target
    from lab.boards.agent import Agent
    from lab.rack import Rack

BoardName = Annotated[
    str | None,
    typer.Argument(metavar="BOARD", help="A place that you have reserved, or a board of the rack here."),
]
Directory = Annotated[
    Path | None, typer.Option("--dir", help="Where the rack keeps its state.", show_default=False)
]
Iommu = Annotated[
    str | None,
    typer.Option("--iommu", help="The mode to boot a board in that is off.", show_default=False),
]


Place = Annotated[
    str | None,
    typer.Argument(metavar="PLACE", help="The place; not needed where you have reserved one only."),
]


class RackBoard:
    """One board of a running rack."""

    def __init__(self, name: str | None, directory: Path | None) -> None:
        """Find it. Raises LabError where no rack runs, ConfigError where it has no such board."""
        from lab.boards import load_target
        from lab.rack import Rack
        from lab.rack.rack import rack_directory

        self.rack: Rack = Rack.attach(rack_directory(directory or "default"))
        self.name = name or self.rack.names[0]
        self._service = self.rack.resources(self.name)["NetworkService"]
        self.target: Target = load_target(self.name)

    def __enter__(self) -> RackBoard:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing is held: the rack goes on."""

    @property
    def destination(self) -> list[str]:
        """Arguments for ssh(1)."""
        known = f"UserKnownHostsFile={self.rack.known_hosts}"
        service = self._service
        words = ["-F", "none", "-i", str(self.rack.keyfile), "-o", known, "-p", str(service["port"])]
        return [*words, "-l", service["username"], service["address"]]

    def boot(self, mode: str | None) -> None:
        """Boot it where it is off: in ``mode``, or the first of its target's default modes."""
        if self.rack.status()[self.name].power:
            return
        from lab.boards import Board
        from lab.imaging import build
        from lab.runs.offered import rack_environment

        target, rack = self.target, self.rack
        image = build(target.image)
        with tempfile.TemporaryDirectory(prefix="lab-") as folder:
            environment = rack_environment(rack, self.name, target, image, Path(folder))
            board = Board.open(environment, target, image, log_tail=lambda: rack.log_tail(self.name))
            with ui.task(f"board {self.name}"):
                try:
                    board.boot(mode or target.default_modes[0])
                except BaseException:
                    board.close()
                    raise
            board.leave()

    @contextmanager
    def agent(self) -> Iterator[Agent]:
        """An agent on the board for a while. Raises LabError when it does not answer, or is off."""
        from lab.base.errors import LabError
        from lab.boards.agent import Agent

        if not self.rack.status()[self.name].power:
            raise LabError(f"{self.name} is off", hint="lab vm start boots it")
        agent = Agent.start(self.name, self.destination, python=self.target.boot.python)
        try:
            yield agent
        finally:
            agent.close()
