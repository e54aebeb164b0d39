"""A whole run: check what was asked, then board after board, then the files that people and CI read."""

from __future__ import annotations

import platform
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from typing import Protocol

from lab import __version__
from lab.base.errors import ConfigError, LabError
from lab.base.proc import require
from lab.boards import Target, load_target
from lab.imaging import Image, build
from lab.rack.machine import machine
from lab.results.folder import RunFolder
from lab.results.model import Run
from lab.runs.launch import Listener, run_target
from lab.runs.request import Request
from lab.runs.session import parse_modes


class View(Protocol):
    """Who watches a run."""

    def image(self, image: Image) -> None:
        """An image is there."""

    def target(self, name: str) -> AbstractContextManager[Listener]:
        """A board of target ``name`` begins; what it gives hears the board's events."""

    def broken(self, target: str, error: LabError) -> None:
        """A target's pytest process broke; the others go on."""


def check(request: Request) -> list[Target]:
    """The targets of ``request``, everything about them checked before anything is booted.

    Raises ConfigError: unknown target, bad file, a mode that a target does not have, a missing program,
    a folder for results that cannot be made.
    """
    try:
        request.results.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"cannot be made ({error.strerror})", file=request.results) from None
    targets = [load_target(name).check() for name in request.targets]
    for target in targets:
        parse_modes(request.iommu, target)
        require("ssh")
        if target.virtual is not None:
            require("qemu-system-aarch64")
            machine(target.virtual, error=target.error)
    return targets


def execute(request: Request, view: View, *, on_folder: Callable[[RunFolder], None]) -> None:
    """Do the run; its results are in its folder when this returns, and as far as they came when it raises.

    ``on_folder`` is told the folder as soon as there is one. Raises ConfigError before anything is booted.
    """
    targets = check(request)
    images = {target.image: build(target.image) for target in targets}
    for image in images.values():
        view.image(image)
    run = Run(
        id=request.id,
        started=datetime.now(UTC),
        command=request.command,
        environment={
            "sharelab": __version__,
            "host": platform.platform(terse=True),
            **{f"image {name}": image.digest for name, image in images.items()},
        },
    )
    folder, log = RunFolder.create(run, request.results)
    log.close()
    on_folder(folder)
    for target in targets:
        with view.target(target.name) as listen:
            try:
                run_target(request, target, folder.path, listen)
            except LabError as error:
                view.broken(target.name, error)
