"""What a person sees while ``lab run`` works: a line per boot, a bar, and at once what went wrong."""

from __future__ import annotations

import time
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from lab.base.errors import ExitCode, LabError
from lab.base.ui import err, out

if TYPE_CHECKING:
    from lab.imaging import Image
    from lab.results.folder import RunFolder
    from lab.runs.launch import BoardProcess, Listener
    from lab.runs.request import Request

INTERRUPTED = 130
"""Exit code after Ctrl-C, as a shell has it: 128 + SIGINT."""

INDENT = " " * 9
STAGES = {"restored": "restored", "uboot": "U-Boot", "linux": "Linux", "agent": "agent"}
"""Stages of a boot that are shown, with the words for them (`lab.boards.Board.times`)."""


class TerminalView:
    """The view of ``lab run``. ``lost``: a target's cells may not even be planned."""

    def __init__(self) -> None:
        self.lost = False

    def image(self, image: Image) -> None:
        """One line: what the boards will run."""
        kernel = image.manifest.get("kernel", "")
        state = "cached" if image.cached else "built"
        err.print(f"image    {image.name:12} kernel {kernel}  {image.digest[:7]}  [dim]{state}[/]")

    def target(self, name: str) -> BoardView:
        """A board begins."""
        return BoardView(name)

    def broken(self, target: str, error: LabError) -> None:
        """Said at once; its cells without a result are missing."""
        self.lost = True
        err.print(f"[bold red]lab:[/] {escape(str(error))}", soft_wrap=True)


def conduct(
    request: Request,
    first: BoardProcess,
    *,
    json: Path | None,
    junit: Path | None,
    report: Path | None,
    bisect: bool,
) -> int:
    """Do the run in front of a person; the exit code. ``first``: the process of the first target, started."""
    folders: list[RunFolder] = []
    interrupted = False
    view = TerminalView()
    try:
        with first:
            from lab.runs.run import execute

            execute(request, first, view, on_folder=folders.append)
    except KeyboardInterrupt:
        interrupted = True
        err.print("\ninterrupted; what was measured is kept")
    if not folders:
        return INTERRUPTED
    from lab.results.exits import outcome_code
    from lab.results.terminal import show

    outcome, contents = folders[0].publish(json=json, junit=junit, report=report)
    for problem in contents.problems:
        err.print(f"[yellow]note:[/] {escape(problem)}")
    show(out, outcome, _shown(folders[0].report))
    if interrupted:
        return INTERRUPTED
    code = outcome_code(outcome, bisect=bisect)
    if view.lost and code in (ExitCode.OK, ExitCode.USAGE):
        code = ExitCode.BISECT_SKIP if bisect else ExitCode.LAB
    return int(code)


def _shown(path: Path) -> Path:
    """Relative to the current folder where it lies below it."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


class BoardView:
    """Listens to the events of one target's pytest process. Use as a context manager."""

    def __init__(self, target: str) -> None:
        self._target = target
        self._progress = Progress(
            TextColumn(INDENT + "{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("[dim]{task.fields[detail]}"),
            console=err,
            transient=True,
            disable=not err.is_terminal,
        )
        self._task: TaskID | None = None
        self._cells = 0
        self._counts: dict[str, int] = {}
        self._started = time.monotonic()
        self._told = ("", "")  # the last failure: a dead board has the same for every cell

    def __enter__(self) -> Listener:
        self._progress.start()
        self._task = self._progress.add_task("tests", total=None, detail="starting the board")
        return self.listen

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()
        done = sum(self._counts.values())
        if done and kind is None:
            counts = ", ".join(f"{number} {status}" for status, number in sorted(self._counts.items()))
            err.print(f"{INDENT}{self._cells} cells in {time.monotonic() - self._started:.0f} s: {counts}")

    def listen(self, event: dict[str, Any]) -> None:
        """Show one event (`lab.runs.session` and `lab.runs.lab` send them)."""
        handler = getattr(self, f"_on_{event.pop('event')}", None)
        if handler is not None:
            handler(**event)

    def _update(self, **fields: Any) -> None:
        assert self._task is not None
        self._progress.update(self._task, **fields)

    def _on_plan(self, cells: int, **_: Any) -> None:
        self._cells = cells
        self._update(total=cells)

    def _on_boot(self, mode: str) -> None:
        self._update(detail=f"booting into {mode}")

    def _on_booted(self, mode: str, times: dict[str, float], verified: str) -> None:
        shown = "  ".join(f"{word} {times[stage]:.1f} s" for stage, word in STAGES.items() if stage in times)
        line = f"board    {self._target:12} {mode:12} {shown}  [dim]verified: {escape(verified)}[/]"
        err.print(line, soft_wrap=True)

    def _on_begin(self, test: str, iommu: str, attempt: int) -> None:
        again = f" (attempt {attempt})" if attempt > 1 else ""
        self._update(detail=f"{iommu}  {escape(test.rpartition('::')[2])}{again}")

    def _on_result(self, test: str, iommu: str, status: str, reason: str, retried: bool, **_: Any) -> None:
        if status in ("FAIL", "ERROR", "MISS") and (iommu, reason) != self._told:
            self._told = (iommu, reason)
            name = escape(test.rpartition("::")[2])
            note = ", booting the board again" if retried else ""
            line = escape(reason.partition("\n")[0])
            err.print(f"{INDENT}[red]{status}[/] {iommu}  {name}: {line}{note}", soft_wrap=True)
        if not retried:
            self._counts[status] = self._counts.get(status, 0) + 1
            self._update(advance=1)
