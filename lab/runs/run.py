"""A whole run: check what was asked, then board after board, then the files that people and CI read."""

from __future__ import annotations

import platform
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from datetime import UTC, datetime
from typing import Protocol

from lab import __version__
from lab.base.errors import ConfigError, LabError
from lab.base.proc import require
from lab.boards import Target, load_target
from lab.imaging import Image, build, find
from lab.rack.machine import machine
from lab.results.folder import RunFolder
from lab.results.model import Run
from lab.runs.launch import BoardProcess, Listener
from lab.runs.request import Request, parse_modes


class View(Protocol):
    """Who watches a run."""

    def image(self, image: Image) -> None:
        """An image is there."""

    def target(self, name: str) -> AbstractContextManager[Listener]:
        """A board of target ``name`` begins; what it gives hears the board's events."""

    def broken(self, target: str, error: LabError) -> None:
        """A target's pytest process broke; the others go on."""


def check(request: Request) -> list[Target]:
    """The targets of ``request``, checked as far as can be before anything is booted.

    The first target's labgrid part is left to its process, which has labgrid at hand sooner. Raises
    ConfigError: unknown target, bad file, a mode that a target does not have, a missing program, a
    folder for results that cannot be made.
    """
    try:
        request.results.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"cannot be made ({error.strerror})", file=request.results) from None
    targets = [load_target(name) for name in request.targets]
    for target in targets:
        parse_modes(request.iommu, target)
        require("ssh")
        if target.virtual is not None:
            require("qemu-system-aarch64")
            machine(target.virtual, error=target.error)
    for target in targets[1:]:
        target.check()
    return targets


def execute(
    request: Request, first: BoardProcess, view: View, *, on_folder: Callable[[RunFolder], None]
) -> None:
    """Do the run; its results are in its folder when this returns, and as far as they came when it raises.

    ``first`` is the process of the first target, which gets ready meanwhile. ``on_folder`` is told
    the folder as soon as there is one. Raises ConfigError before anything is booted.
    """
    targets = check(request)
    there = {target.image: find(target.image) for target in targets}
    first.ready()
    images = {name: image or build(name) for name, image in there.items()}
    for image in images.values():
        view.image(image)
    run = Run(
        id=request.id,
        started=datetime.now(UTC),
        command=request.command,
        environment={
            "sharelab": __version__,
            "host": platform.platform(terse=True),
            **({"vmm": " ".join(request.vmm)} if request.vmm else {}),
            **{f"image {name}": image.digest for name, image in images.items()},
        },
    )
    folder, log = RunFolder.create(run, request.results)
    log.close()
    on_folder(folder)
    for number, target in enumerate(targets):
        with view.target(target.name) as listen, ExitStack() as stack:
            try:
                process = first if number == 0 else stack.enter_context(BoardProcess(request, target.name))
                if number:
                    process.ready()
                process.go(folder.path, folder.log, listen)
            except LabError as error:
                view.broken(target.name, error)
