"""``lab results diff`` and ``trend``: what changed from run to run."""

from __future__ import annotations

from collections import Counter
from itertools import groupby
from typing import TYPE_CHECKING, Annotated

import typer

from lab.cli.results import StoreOption, store_path

if TYPE_CHECKING:
    from rich.text import Text

    from lab.results.model import CellKey, Result
    from lab.results.query import Query
    from lab.results.store import Store
    from lab.results.trends import Point, TrendRow

_RUNS = 12


def diff_runs(
    run_a: Annotated[
        str, typer.Argument(metavar="RUN_A", help="The earlier run: a name, or the beginning of one.")
    ],
    run_b: Annotated[str, typer.Argument(metavar="RUN_B", help="The later run.")] = "last",
    store: StoreOption = None,
    same: Annotated[bool, typer.Option("--all", help="Also the cells that are the same.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON on standard output.")] = False,
) -> None:
    """Say what is new, fixed, still failing, flaky or missing in RUN_B against RUN_A.

    Example: lab results diff 2026-11-22T21 last
    """
    import json

    from rich.cells import cell_len
    from rich.text import Text

    from lab.base.ui import out
    from lab.results.diff import Change, diff
    from lab.results.matrix import label_of
    from lab.results.store import Store

    with Store(store_path(store), create=False) as kept:
        before, after = (kept.outcome(kept.find(name), heavy=False) for name in (run_a, run_b))
        differing = [item.cell.key for item in diff(before, after) if item.change is not Change.SAME]
        found = diff(before, after, wavering(kept, differing))
    shown = [item for item in found if same or item.change is not Change.SAME]
    if as_json:
        typer.echo(json.dumps([item.as_dict() for item in shown], indent=1))
        return
    for change, group in groupby(shown, key=lambda item: item.change):
        items = list(group)
        out.print(Text(f"{change}: {len(items)}", style="bold"))
        if change is Change.ADDED and not same:
            counts = Counter((item.cell.target, item.cell.iommu_asked) for item in items)
            for (where, mode), count in counts.items():
                out.print(f"  {where} {mode}: {count} that the earlier run has not")
            continue
        sides = [(_said(item.before), _said(item.after)) for item in items]
        left, right = (max(cell_len(pair[at].plain) for pair in sides) for at in (0, 1))
        for item, pair in zip(items, sides, strict=True):
            cell = item.cell
            for text, width in zip(pair, (left, right), strict=True):
                text.pad_right(width - cell_len(text.plain))
            line = Text.assemble("  ", pair[0], _arrow(), pair[1], f"  {cell.target} {cell.iommu_asked}  ")
            line.append(f"{cell.decoder}  " if cell.decoder else "").append(label_of(cell))
            out.print(line, soft_wrap=True)
            if not cell.as_expected and cell.reason:
                out.print(Text(f"      {cell.reason.partition(chr(10))[0]}", style="dim"), soft_wrap=True)
    total = {change: sum(item.change is change for item in found) for change in Change}
    told = ", ".join(f"{count} {change}" for change, count in total.items() if count)
    names = [found.run.id if found.run else "" for found in (before, after)]
    out.print(f"{names[0]} to {names[1]}: {told}.", soft_wrap=True)


def trend(
    test: Annotated[
        str, typer.Argument(metavar="TEST", help="A test's name, or a part of it or of its sharing path.")
    ],
    store: StoreOption = None,
    runs: Annotated[int, typer.Option("-n", "--runs", min=2, help="How many runs to look back.")] = _RUNS,
    target: Annotated[list[str] | None, typer.Option("-t", "--target", help="Only this target.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON on standard output.")] = False,
) -> None:
    """Show how a test came out run after run, oldest first, on every target and in every IOMMU mode.

    Example: lab results trend udmabuf-4k
    """
    import json

    from rich.table import Table
    from rich.text import Text

    from lab.base.errors import ConfigError
    from lab.base.ui import out
    from lab.results.store import Store

    with Store(store_path(store), create=False) as kept:
        rows = history(kept, test, tuple(target or ()), runs)
    if not rows:
        raise ConfigError(
            f"no test with '{test}' in its name", hint="lab results show has the tests of a run"
        )
    if as_json:
        typer.echo(json.dumps([_as_dict(row) for row in rows], indent=1))
        return
    for name, group in groupby(rows, key=lambda row: row.key.test):
        found = list(group)
        label = "" if found[0].label in name else f"  ({found[0].label})"
        out.print(Text(f"{name}{label}", style="bold"), soft_wrap=True)
        table = Table(box=None, show_header=False, pad_edge=True)
        for row in found:
            signs = Text().join(_sign(point) for point in row.points)
            rate = f"changed in {row.flake_rate:.0%} of the runs" if row.flake_rate else ""
            table.add_row(row.key.target, str(row.key.iommu), signs, row.state, rate)
        out.print(table)


def history(store: Store, test: str, targets: tuple[str, ...], runs: int) -> list[TrendRow]:
    """The last ``runs`` results of each cell whose test is called so, or has ``test`` in its name or path."""
    from lab.results.query import Query

    names = store.values("test", Query(targets=targets))
    tests = tuple(name for name in names if name == test) or tuple(name for name in names if test in name)
    if not tests:
        paths = store.latest(Query(targets=targets))
        tests = tuple({row.test for row in paths if test in row.path})
    return rows_of(store, Query(tests=tests, targets=targets), runs) if tests else []


def rows_of(store: Store, query: Query, runs: int) -> list[TrendRow]:
    """The trend of every cell that matches, one point a run, oldest first."""
    from lab.results.look import MODES
    from lab.results.matrix import label_of
    from lab.results.rows import light_result
    from lab.results.trends import Point, TrendRow

    found = []
    for _, rows in groupby(store.latest(query, samples=runs), key=lambda row: row.cell_id):
        counted: dict[str, Result] = {}
        for row in rows:  # newest first: of several attempts of a run the last one counts
            counted.setdefault(row.run, light_result(row))
        newest = next(iter(counted.values()))
        points = tuple(Point.of(cell) for cell in reversed(counted.values()))
        found.append(TrendRow(newest.key, label_of(newest), points))
    return sorted(found, key=lambda row: (row.key.test, row.key.target, MODES.index(row.key.iommu)))


def wavering(store: Store, keys: list[CellKey], runs: int = _RUNS) -> list[CellKey]:
    """Which of ``keys`` changed their mind more than once in their last runs."""
    from lab.results.query import Query

    if not keys:
        return []
    wanted = set(keys)
    tests, targets = (tuple({getattr(key, name) for key in keys}) for name in ("test", "target"))
    rows = rows_of(store, Query(tests=tests, targets=targets), runs)
    return [row.key for row in rows if row.key in wanted and row.state == "flaky"]


def _said(cell: Result | None) -> Text:
    from rich.text import Text

    from lab.base.ui import out
    from lab.results.look import look_of

    if cell is None:
        return Text("(not in it)", style="dim")
    look = look_of(cell.status, cell.verdict)
    return Text(f"{look.ascii if out.options.ascii_only else look.symbol} {look.word}", style=look.colour)


def _arrow() -> str:
    from lab.base.ui import out

    return " -> " if out.options.ascii_only else " → "


def _sign(point: Point | None) -> Text:
    from rich.text import Text

    from lab.base.ui import out

    if point is None:
        return Text(" ")
    return Text(point.look.ascii if out.options.ascii_only else point.look.symbol, style=point.look.colour)


def _as_dict(row: TrendRow) -> dict[str, object]:
    points = [
        {"run": point.run, "outcome": point.look.word, "as_expected": point.as_expected}
        for point in row.points
        if point is not None
    ]
    key = {"target": row.key.target, "iommu": str(row.key.iommu), "test": row.key.test}
    return {**key, "state": row.state, "flake_rate": row.flake_rate, "points": points}
