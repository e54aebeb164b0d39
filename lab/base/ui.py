"""What a person sees: messages and progress on stderr, results on stdout, colour only on a terminal."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from rich.console import Console, ConsoleOptions, RenderableType
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.segment import Segment
from rich.text import Text

_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def printable(text: str) -> str:
    """``text`` with ``?`` for all that would move a terminal's cursor, change its colours or its title."""
    return _CONTROL.sub("?", text)


class Terminal(Console):
    """A console that no text can steer: names, reasons and logs come from anywhere.

    Rich's own escapes are made later.
    """

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """As Rich's, whose every output passes here."""
        for segment in super().render(renderable, options):
            plain = segment.text if segment.control is not None else printable(segment.text)
            yield segment if plain == segment.text else Segment(plain, segment.style)


# No markup and no emoji by default: most of what is printed comes from elsewhere, and may have brackets.
out = Terminal(highlight=False, markup=False, emoji=False)
err = Terminal(stderr=True, highlight=False, markup=False, emoji=False)


def aside(text: str) -> None:
    """Say ``text`` on stderr where another program has the terminal and may have made it raw; any thread.

    Rich drops carriage returns, without which a raw terminal goes on below the end of the line before.
    """
    err.file.write(f"\r\nlab: {printable(text)}\r\n")
    err.file.flush()


class Task:
    """One piece of long work that a person waits for. ``total`` is in any unit; None: unknown."""

    def __init__(self, progress: Progress | None, task: TaskID | None) -> None:
        self._progress = progress
        self._task = task

    def detail(self, text: str) -> None:
        """Say what is being done just now."""
        if self._progress is not None and self._task is not None:
            self._progress.update(self._task, detail=text)

    def advance(self, amount: float = 1) -> None:
        """``amount`` more of ``total`` is done."""
        if self._progress is not None and self._task is not None:
            self._progress.advance(self._task, amount)

    def total(self, amount: float | None) -> None:
        """The whole amount is known now."""
        if self._progress is not None and self._task is not None:
            self._progress.update(self._task, total=amount)


@contextmanager
def task(name: str, total: float | None = None) -> Iterator[Task]:
    """Show ``name`` with a bar while the body runs.

    Where stderr is no terminal, a line when it has run for two seconds, and for all one at the end.
    """
    started = time.monotonic()
    if err.is_terminal:
        columns = (
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=20),
            TimeElapsedColumn(),
            TextColumn("{task.fields[detail]}", style="dim", markup=False),
        )
        with Progress(*columns, console=err, transient=True) as progress:
            yield Task(progress, progress.add_task(name, total=total, detail=""))
    else:
        begun = threading.Timer(2, err.print, [Text.assemble(name, ("  ...", "dim"))])
        begun.start()
        try:
            yield Task(None, None)
        finally:
            begun.cancel()
    seconds = time.monotonic() - started
    if seconds >= 2:
        err.print(Text.assemble(name, (f"  {seconds:.1f} s", "dim")))
