"""What ``lab targets check`` prints."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.markup import escape
from rich.table import Table
from rich.text import Text

from lab.base import dirs, ui
from lab.boards.checks import Finding, Report, State

COLOURS = {State.OK: "green", State.WRONG: "bold red", State.OPEN: "dim"}
SHORT = {State.OK: "ok", State.WRONG: "wrong", State.OPEN: "open"}


def show_each(reports: Sequence[Report]) -> None:
    """One line per fact."""
    for report in reports:
        ui.out.print(f"[bold]{report.target.name}[/]  {escape(report.target.board)}", markup=True)
        width = max(len(one.fact) for found in report.by_witness.values() for one in found)
        for witness, found in report.by_witness.items():
            ui.out.print(f" {witness}", style="bold")
            for one in found:
                colour = COLOURS[one.state]
                fact = f"{one.fact:<{width}}"
                says = escape(_where(report, one) + one.says)
                ui.out.print(
                    f"  [{colour}]{SHORT[one.state]:<5}[/] {fact}  {says}", markup=True, soft_wrap=True
                )
        counts = ", ".join(f"{report.count(state)} {state}" for state in State)
        ui.out.print(f" {counts}\n")


def show_summary(reports: Sequence[Report]) -> None:
    """One line per target, then what is wrong."""
    witnesses = list(dict.fromkeys(name for report in reports for name in report.by_witness))
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("TARGET", no_wrap=True)
    for witness in witnesses:
        table.add_column(_heading(reports, witness), justify="right")
    for report in reports:
        table.add_row(report.target.name, *(_count(report.by_witness.get(name)) for name in witnesses))
    ui.out.print(table)
    for report in reports:
        for witness, one in report.wrong:
            where = _where(report, one)
            ui.out.print(
                f"[bold red]wrong[/] {escape(f'{where}{one.fact}: {one.says}  ({witness})')}",
                markup=True,
                soft_wrap=True,
            )


def _heading(reports: Sequence[Report], witness: str) -> str:
    """A kernel is named by its version, which is what a person knows it by."""
    found = [one for report in reports for one in report.by_witness.get(witness, [])]
    only_open = all(one.state is State.OPEN for one in found)
    return str(State.OPEN).upper() if only_open else witness.partition("+")[0].upper()


def _count(found: Sequence[Finding] | None) -> str | Text:
    if found is None:
        return "-"
    wrong = sum(one.state is State.WRONG for one in found)
    fine = sum(one.state is State.OK for one in found)
    if wrong:
        return Text(f"{wrong} wrong", "bold red")
    return f"{fine} ok" if fine else str(len(found))


def _where(report: Report, one: Finding) -> str:
    """File and line of a wrong fact."""
    if one.state is not State.WRONG:
        return ""
    path = report.target.path
    shown = path.relative_to(dirs.root()) if path.is_relative_to(dirs.root()) else Path(path)
    return f"{shown}:{report.line(one)}: "


def as_data(reports: Sequence[Report], missing: Mapping[str, str]) -> dict[str, Any]:
    """All of it, for programs."""
    return {
        "targets": [
            {
                "name": report.target.name,
                "file": str(report.target.path),
                "findings": [
                    {
                        "witness": witness,
                        "fact": one.fact,
                        "state": str(one.state),
                        "says": one.says,
                        "line": report.line(one),
                    }
                    for witness, found in report.by_witness.items()
                    for one in found
                ],
            }
            for report in reports
        ],
        "missing": dict(missing),
    }
