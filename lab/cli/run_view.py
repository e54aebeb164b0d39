"""What a person sees while ``lab run`` works: a line per boot, a bar per board, at once what went wrong."""

from __future__ import annotations

import time
from contextlib import nullcontext
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from lab.base.errors import ConfigError, ExitCode, SharelabError
from lab.base.ui import err, out
from lab.cli.ending import Ending, TerminatedError
from lab.cli.own_board import STAGES

if TYPE_CHECKING:
    from lab.imaging import Image
    from lab.places import Waiting
    from lab.results.folder import RunFolder
    from lab.runs.launch import BoardProcess
    from lab.runs.request import Request

INTERRUPTED = 130
"""Exit code after Ctrl-C, as a shell has it: 128 + SIGINT."""

INDENT = " " * 9

BRIEF = 3.0
"""Seconds of waiting that nobody needs to be told of."""


class TerminalView:
    """The view of ``lab run``. Use as a context manager. ``failure``: the exit code of a job that broke."""

    def __init__(self) -> None:
        self.failure: ExitCode | None = None
        self._progress = Progress(
            TextColumn(INDENT + "{task.description}", markup=False),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[detail]}", style="dim", markup=False),
            console=err,
            transient=True,
            disable=not err.is_terminal,
        )

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def image(self, image: Image) -> None:
        """One line: what the boards will run."""
        kernel = image.manifest.get("kernel", "")
        state = "cached" if image.cached else "built"
        err.print(
            f"image    {image.name:12} kernel {kernel}  {image.digest[:7]}  [dim]{state}[/]", markup=True
        )
        if image.own:
            err.print(f"{INDENT}one's own: {image.own_words}", soft_wrap=True)

    def target(self, name: str) -> BoardView:
        """A job begins."""
        return BoardView(name, self._progress)

    def idle(self, target: str, reason: str) -> None:
        """Left out, with the reason that its file gives."""
        err.print(f"left out {target:12} no decoder: {reason}", soft_wrap=True)

    def broken(self, target: str, error: SharelabError) -> None:
        """Said at once; its cells without a result are missing."""
        if isinstance(error, ConfigError):
            self.failure = ExitCode.USAGE
        self.failure = self.failure or ExitCode.LAB
        words = str(error) if target in str(error) else f"{target}: {error}"
        err.print(f"[bold red]lab:[/] {escape(words)}", markup=True, soft_wrap=True)


def conduct(
    request: Request,
    first: BoardProcess | None,
    *,
    json: Path | None,
    junit: Path | None,
    report: Path | None,
    store: str | None,
    bisect: bool,
) -> int:
    """Do the run in front of a person; the exit code. ``first``: the process of the first target, started."""
    folders: list[RunFolder] = []
    interrupted = 0
    ending = Ending()
    try:
        with first or nullcontext(), TerminalView() as view:
            from lab.runs.run import execute

            execute(request, first, view, on_folder=folders.append, check=ending.check)
    except (KeyboardInterrupt, TerminatedError) as error:
        interrupted = INTERRUPTED if isinstance(error, KeyboardInterrupt) else int(str(error.code))
        err.print("\ninterrupted; what was measured is kept")
    if not folders:
        return interrupted
    from lab.results.exits import outcome_code
    from lab.results.terminal import show

    outcome, contents = folders[0].publish(json=json, junit=junit, report=report, store=store)
    for problem in contents.problems:
        err.print(f"[yellow]note:[/] {escape(problem)}", markup=True)
    show(out, outcome, _shown(folders[0].report))
    if interrupted:
        return interrupted
    code = outcome_code(outcome, bisect=bisect)
    if view.failure is not None and code in (ExitCode.OK, ExitCode.USAGE, ExitCode.LAB):
        code = ExitCode.BISECT_SKIP if bisect else view.failure
    return int(code)


def _shown(path: Path) -> Path:
    """Relative to the current folder where it lies below it."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


class BoardView:
    """Hears of one job: its boards, and the events of their pytest processes. Use as a context manager."""

    def __init__(self, target: str, progress: Progress) -> None:
        self._target = target
        self._place = target
        self._progress = progress
        self._task: TaskID | None = None
        self._cells = 0
        self._statuses: dict[tuple[str, str], str] = {}
        self._started = time.monotonic()
        self._told = ("", "")  # the last failure: a dead board has the same for every cell
        self._waited_for = ""

    def __enter__(self) -> Self:
        self._task = self._progress.add_task(self._target, total=None, detail="starting")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._task is not None
        self._progress.remove_task(self._task)
        if self._statuses and kind is None:
            statuses = sorted(self._statuses.values())
            counts = ", ".join(f"{statuses.count(status)} {status}" for status in dict.fromkeys(statuses))
            took = f"{self._cells} cells in {time.monotonic() - self._started:.0f} s"
            err.print(f"{'done':8} {self._target:12} {took}: {counts}", soft_wrap=True)

    def waiting(self, waiting: Waiting) -> None:
        """Where it stands in the queue: on a terminal always, elsewhere when that changes."""
        from lab.cli.boards import ordinal
        from lab.cli.coordinator import clock

        words = "waits for a board"
        if waiting.position:
            words += f", {ordinal(waiting.position)} in the queue"
        if waiting.note:
            words += f"; no live board satisfies it now: {waiting.note}"
        before = self._waited_for
        if waiting.free_at:
            words += f"; {waiting.free_at[0]} is free at {clock(waiting.free_at[1])} at the latest"
        self._update(detail=words)
        if words != before and time.monotonic() - self._started > BRIEF and not err.is_terminal:
            err.print(f"wait     {self._target:12} {words}", soft_wrap=True)
            self._waited_for = words

    def place(self, name: str, waited: float) -> None:
        """It got a board."""
        self._place = name
        self._update(detail="starting the board")
        after = f"  [dim]after {waited:.0f} s[/]" if waited >= 1 else ""
        err.print(f"place    {escape(name):12} for {self._target}{after}", markup=True, soft_wrap=True)

    def lost(self, place: str, reason: str) -> None:
        """Its board is somebody else's."""
        line = f"[bold red]lost[/]     {escape(place):12} {escape(reason)}; hands off"
        err.print(line, markup=True, soft_wrap=True)

    def again(self, cells: int, place: str) -> None:
        """Another board is tried."""
        plural = "cell" if cells == 1 else "cells"
        err.print(f"again    {self._target:12} {cells} {plural} that {place} missed", soft_wrap=True)

    def quarantined(self, place: str, reason: str) -> None:
        """No more runs there."""
        line = f"[yellow]quarantined[/] {escape(place)}: {escape(reason)}"
        err.print(line, markup=True, soft_wrap=True)

    def listen(self, event: dict[str, Any]) -> None:
        """Show one event (`lab.runs.session` and `lab.runs.lab` send them)."""
        handler = getattr(self, f"_on_{event.pop('event')}", None)
        if handler is not None:
            handler(**event)

    def _update(self, **fields: Any) -> None:
        assert self._task is not None
        self._progress.update(self._task, **fields)

    def _on_plan(self, cells: int, **_: Any) -> None:
        self._cells = max(self._cells, cells)
        self._update(total=self._cells)

    def _on_boot(self, mode: str) -> None:
        self._update(detail=f"booting into {mode}")

    def _on_booted(self, mode: str, times: dict[str, float], verified: str) -> None:
        shown = "  ".join(f"{word} {times[stage]:.1f} s" for stage, word in STAGES.items() if stage in times)
        line = f"board    {escape(self._place):12} {mode:12} {shown}  [dim]verified: {escape(verified)}[/]"
        err.print(line, markup=True, soft_wrap=True)

    def _on_outage(self, reason: str, patience: float) -> None:
        self._update(detail="waiting for the board's equipment")
        words = f"{escape(reason.removeprefix(f'{self._place}: '))}; waiting for it, {patience:.0f} s at most"
        line = f"[yellow]wait[/]     {escape(self._place):12} {words}"
        err.print(line, markup=True, soft_wrap=True)

    def _on_begin(self, test: str, iommu: str, attempt: int) -> None:
        again = f" (attempt {attempt})" if attempt > 1 else ""
        self._update(detail=f"{iommu}  {test.rpartition('::')[2]}{again}")

    def _on_result(self, test: str, iommu: str, status: str, reason: str, retried: bool, **_: Any) -> None:
        if status in ("FAIL", "ERROR", "MISS") and (iommu, reason) != self._told:
            from lab.base.words import Status
            from lab.results.look import STATUSES

            self._told = (iommu, reason)
            name = escape(test.rpartition("::")[2])
            note = ", booting the board again" if retried else ""
            line = escape(reason.partition("\n")[0])
            where = f"{escape(self._place)} " if self._place != self._target else ""
            look = STATUSES[Status(status)]
            shown = f"[{look.colour}]{look.word}[/]"
            told = f"{INDENT}{shown} {where}{iommu}  {name}: {line}{note}"
            err.print(told, markup=True, soft_wrap=True)
        if not retried:
            self._statuses[iommu, test] = status
            self._update(completed=len(self._statuses))
