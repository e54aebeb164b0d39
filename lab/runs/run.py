"""A whole run: check what was asked, then its boards, then the files that people and CI read."""

from __future__ import annotations

import platform
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Protocol

from lab import __version__
from lab.base.errors import ConfigError, SharelabError
from lab.base.proc import require
from lab.boards import Target, load_target
from lab.imaging import Image
from lab.rack.machine import machine
from lab.results.expectations import Expectations
from lab.results.folder import RunFolder
from lab.results.model import Run
from lab.runs.crew import Crew, EndedError
from lab.runs.images import build_image, find_image
from lab.runs.jobs import Job, lab_jobs, own_jobs
from lab.runs.launch import GRACE, BoardProcess
from lab.runs.request import Request, parse_modes

if TYPE_CHECKING:
    from lab.places import Session
    from lab.runs.leased import Watcher

SWITCHED = frozenset({"board"})
"""Suites whose cells have no device before an IOMMU but the decoder."""

STOP = 3.0
"""Seconds that boards have to go off when a run is ended: a cancelled CI job is killed soon after."""


class View(Protocol):
    """Who watches a run. Several threads call it at once."""

    def image(self, image: Image) -> None:
        """An image is there."""

    def target(self, name: str) -> AbstractContextManager[Watcher]:
        """A job on target ``name`` begins; what it gives hears of its boards and their events."""

    def idle(self, target: str, reason: str) -> None:
        """A target has nothing that could be measured."""

    def broken(self, target: str, error: SharelabError) -> None:
        """A target's job broke; the others go on."""


def checked(request: Request, jobs: list[Job]) -> list[Target]:
    """The targets of ``jobs``, checked as far as can be before anything is booted.

    The first target's labgrid part is left to its process, which has labgrid at hand sooner. Raises
    ConfigError: unknown target, bad file (of expectations, too), a mode that a target does not have, a
    missing program, a folder for results that cannot be made.
    """
    try:
        request.results.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"cannot be made ({error.strerror})", file=request.results) from None
    Expectations().check()
    others = sorted({suite.name for suite in request.suites} - SWITCHED)
    if request.switch and others:
        raise ConfigError(
            f"--switch is for suite {' '.join(SWITCHED)}, not for {', '.join(others)}",
            hint="devices other than the decoders keep the mode that they were booted in",
        )
    targets = [load_target(job.target) for job in jobs]
    for job, target in zip(jobs, targets, strict=True):
        if target.no_decoder:
            continue
        parse_modes(request.iommu, target.check_bootable())
        require("ssh")
        if target.virtual is not None and not job.leased:
            require("qemu-system-aarch64")
            machine(target.virtual, error=target.error)
    for target in targets[1:]:
        target.check()
    return targets


def execute(
    request: Request,
    first: BoardProcess | None,
    view: View,
    *,
    on_folder: Callable[[RunFolder], None],
    check: Callable[[], None],
) -> None:
    """Do the run; its results are in its folder when this returns, and as far as they came when it raises.

    ``first`` is the process of the first target, which gets ready meanwhile; None on a lab's places.
    ``on_folder`` is told the folder as soon as there is one. ``check`` is called a few times a second and
    may raise, which ends the run. Raises ConfigError before anything is booted, LabError where the lab's
    coordinator does not answer.
    """
    _known_beforehand(request)
    with ExitStack() as stack:
        session: Session | None = None
        if request.leased:
            from lab.places import connect

            session = stack.enter_context(connect(request.coordinator))
        jobs = own_jobs(request) if session is None else lab_jobs(request, session.places())
        targets = checked(request, jobs)
        jobs = _measurable(jobs, targets, view)
        bootable = [target for target in targets if not target.no_decoder]
        there = {target.image: find_image(target, request.own) for target in bootable}
        if first is not None and any(job.target == first.target for job in jobs):
            first.ready()
        images = {
            target.image: there[target.image] or build_image(target, request.own) for target in bootable
        }
        for image in images.values():
            view.image(image)
        folder, log = RunFolder.create(_run(request, images), request.results)
        log.close()
        on_folder(folder)
        crew = Crew(
            lambda job: _work(job, request, session, folder, crew, view, first),
            boards=request.boards or (0 if session is not None else 1),
        )
        try:
            crew.run(jobs, check)
        except BaseException:
            if session is not None:
                crew.ended.set()
                session.stop_waiting()
            crew.end(STOP if session is not None else GRACE)
            raise


def _known_beforehand(request: Request) -> None:
    """Raise ConfigError for targets that no lab could run: for that nobody needs to be asked."""
    named = [load_target(name) for name in request.targets]
    if named and not (request.socs or request.places):
        _some_decoder(named)
    for target in named:
        if not target.no_decoder:
            target.check_bootable()


def _measurable(jobs: list[Job], targets: list[Target], view: View) -> list[Job]:
    """The jobs on targets that have a decoder; of the others ``view`` hears why.

    Raises ConfigError if there is none.
    """
    if targets:
        _some_decoder(targets)
    for target in targets:
        if target.no_decoder:
            view.idle(target.name, target.no_decoder)
    return [job for job, target in zip(jobs, targets, strict=True) if not target.no_decoder]


def _some_decoder(targets: list[Target]) -> None:
    """Raise ConfigError, with the reason that the first one's file gives, where no target has a decoder."""
    if all(target.no_decoder for target in targets):
        raise ConfigError(f"nothing to measure: {targets[0].name} has no decoder", hint=targets[0].no_decoder)


def _run(request: Request, images: dict[str, Image]) -> Run:
    return Run(
        id=request.id,
        started=datetime.now(UTC),
        command=request.command,
        environment={
            "sharelab": __version__,
            "host": platform.platform(terse=True),
            **({"vmm": " ".join(request.vmm)} if request.vmm else {}),
            **{f"image {name}": image.digest for name, image in images.items()},
            **{f"own {name}": image.own_words for name, image in images.items() if image.own},
        },
    )


def _work(
    job: Job,
    request: Request,
    session: Session | None,
    folder: RunFolder,
    crew: Crew,
    view: View,
    first: BoardProcess | None,
) -> None:
    """One job, to its end; what goes wrong is told to ``view``."""
    try:
        with view.target(job.target) as watcher:
            if session is not None:
                from lab.runs.leased import LeasedJob

                LeasedJob(job, request, session, folder, crew, watcher).run()
            else:
                _own(job, request, folder, crew, watcher, first)
    except EndedError:
        pass
    except SharelabError as error:
        if not crew.ended.is_set():
            view.broken(job.target, error)


def _own(
    job: Job, request: Request, folder: RunFolder, crew: Crew, watcher: Watcher, first: BoardProcess | None
) -> None:
    mine = first is not None and first.target == job.target
    process = first if mine and first is not None else BoardProcess(request, job.target)
    with crew.process(process):
        if not mine:
            process.ready()
        process.go(folder.path, folder.log, watcher.listen)
