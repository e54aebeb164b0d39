"""``lab results``: the runs in the store, and the matrix of each."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from lab.results.folder import RunFolder

app = typer.Typer(help="Look at the runs that were kept.", no_args_is_help=True)

StoreOption = Annotated[
    str | None,
    typer.Option(
        "--store",
        metavar="URL",
        help="The result store: a file, or postgresql://USER@HOST/NAME.",
        show_default="LAB_STORE, results/store.sqlite",
    ),
]


@app.command("list")
def list_runs(
    store: StoreOption = None,
    limit: Annotated[int, typer.Option("-n", "--limit", min=1, help="How many, newest first.")] = 20,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON on standard output.")] = False,
) -> None:
    """List the runs: when, which targets and modes, how they came out."""
    import json

    from lab.base.ui import out
    from lab.results.listing import RunLine, table
    from lab.results.store import Store

    with Store(store_path(store), create=False) as kept:
        lines = [RunLine.of(run, kept.outcome(run, heavy=False)) for run in kept.runs(limit)]
    if as_json:
        typer.echo(json.dumps([line.as_dict() for line in lines], indent=1))
    else:
        out.print(table(lines, plain=out.options.ascii_only))


@app.command("leases")
def leases(
    place: Annotated[str | None, typer.Argument(metavar="PLACE", help="Of this place only.")] = None,
    store: StoreOption = None,
    limit: Annotated[int, typer.Option("-n", "--limit", min=1, help="How many, newest first.")] = 20,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON on standard output.")] = False,
) -> None:
    """List which boards of a lab runs have held, how long they waited, and what was found of their health."""
    import json

    from rich.table import Table
    from rich.text import Text

    from lab.base import duration
    from lab.base.ui import out
    from lab.results.model import to_line
    from lab.results.places import Ended
    from lab.results.store import Store

    with Store(store_path(store), create=False) as kept:
        held, health = kept.leases(place, limit), kept.health(place, limit)
    if as_json:
        lines = [to_line("lease", one) for one in held] + [to_line("health", one) for one in health]
        typer.echo(json.dumps([json.loads(line) for line in lines], indent=1))
        return
    table = Table(box=None, pad_edge=True, header_style="dim")
    for title in ("SINCE", "PLACE", "HELD", "WAITED", "CELLS", "RUN", ""):
        table.add_column(title, no_wrap=title in ("SINCE", "HELD", "WAITED", "CELLS"), overflow="fold")
    rows: list[tuple[datetime, list[str | Text]]] = []
    for one in held:
        spans = [one.until - one.since, one.since - one.asked]
        words = [duration.written(span.total_seconds()) for span in spans]
        note = Text(f"lost: {one.reason}", "red") if one.ended == Ended.LOST else Text("")
        rows.append((one.since, [Text(one.place), *words, str(one.cells), Text(one.run), note]))
    for check in health:
        note = Text(", ".join(filter(None, (check.health, check.reason))), "dim")
        rows.append((check.started, [Text(check.place), "", "", "", Text(check.run), note]))
    for moment, cells in sorted(rows, key=lambda row: row[0], reverse=True)[:limit]:
        table.add_row(f"{moment.astimezone():%Y-%m-%d %H:%M}", *cells)
    out.print(table)


@app.command("show")
def show(
    run: Annotated[
        str, typer.Argument(metavar="RUN", help="A run's name, the beginning of one, or 'last'.")
    ] = "last",
    store: StoreOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Every cell as JSON on standard output.")] = False,
) -> None:
    """Show the matrix of a run again."""
    from lab.base.ui import out
    from lab.results.folder import as_json as document
    from lab.results.store import Store
    from lab.results.terminal import show as show_matrix

    with Store(store_path(store), create=False) as kept:
        found = kept.find(run)
        outcome = kept.outcome(found, heavy=as_json)
    if as_json:
        typer.echo(document(outcome), nl=False)
        return
    report = run_folder(store, found.id).report
    show_matrix(out, outcome, report if report.exists() else None)


def store_path(given: str | None) -> str | Path:
    """Where the store is that a command was given, or LAB_STORE's, or the one in the current folder."""
    from lab.results.folder import store_of

    return store_of(given)


def run_folder(given: str | None, run: str) -> RunFolder:
    """Where the files of a run are, if they are on this machine: beside the store, or in ``results``."""
    from lab.results.folder import RunFolder, default_base

    where = store_path(given)
    base = default_base() if "://" in str(where) else Path(where).parent
    return RunFolder(base / run)
