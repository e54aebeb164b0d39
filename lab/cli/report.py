"""``lab report``: a run as one HTML file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lab.cli.results import StoreOption


def report(
    run: Annotated[
        str, typer.Argument(metavar="RUN", help="A run's name, the beginning of one, or 'last'.")
    ] = "last",
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", metavar="FILE", help="Where to; - is standard output."),
    ] = None,
    store: StoreOption = None,
) -> None:
    """Write the report of a run: one HTML file with matrix, evidence and trends, that works offline.

    Without -o it goes into the run's folder, or into report-RUN.html here where that is elsewhere.

    Examples:
      lab report
      lab report 2026-11-22T21 -o matrix.html
    """
    from lab.base.ui import out
    from lab.cli.results import run_folder, store_path
    from lab.results.folder import write_report
    from lab.results.store import Store
    from lab.results.trends import look_back

    with Store(store_path(store), create=False) as kept:
        found = kept.find(run)
        outcome = kept.outcome(found)
        trends = look_back(kept, outcome)
    folder = run_folder(store, found.id)
    target = output or (folder.report if folder.path.is_dir() else Path(f"report-{found.id}.html"))
    write_report(outcome, target, trends=trends)
    if str(target) != "-":
        out.print(f"report: {target}", soft_wrap=True)
