"""The root of the command line: command groups, and errors as one line with an exit code."""

from __future__ import annotations

import sys

import typer
from rich.markup import escape

from lab.base.errors import SharelabError
from lab.base.ui import err
from lab.cli import (
    board,
    boards,
    bringup,
    check,
    ci,
    compare,
    decode,
    doctor,
    expect,
    health,
    images,
    rack,
    report,
    reserve,
    results,
    results_change,
    results_files,
    run,
    serve,
    shell,
    sync,
    targets,
    units,
    up,
    upkeep,
    vm,
)
from lab.cli.with_command import WithCommand

app = typer.Typer(
    name="lab",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Boot ARM64 boards and decide, from evidence, which buffers their decoders and GPUs can share.",
)

RUN, RESULTS, BOARDS, LAB, PARTS = (
    "Run",
    "Look at results",
    "Have a board of a lab",
    "Keep a lab",
    "The parts of it",
)

app.command("run", rich_help_panel=RUN)(run.run)
app.command("decode", rich_help_panel=RUN)(decode.decode)

results.app.command("diff")(results_change.diff_runs)
results.app.command("trend")(results_change.trend)
results.app.command("add")(results_files.add)
results.app.command("import")(results_files.import_)
results.app.command("export")(results_files.export)
app.add_typer(results.app, name="results", rich_help_panel=RESULTS)
app.command("report", rich_help_panel=RESULTS)(report.report)
app.command("compare", rich_help_panel=RESULTS)(compare.compare)
app.add_typer(expect.app, name="expect", rich_help_panel=RESULTS)
app.command("serve", rich_help_panel=RESULTS)(serve.serve)

app.command("boards", rich_help_panel=BOARDS)(boards.boards)
app.command("reserve", cls=WithCommand, rich_help_panel=BOARDS)(reserve.reserve)
app.command("extend", rich_help_panel=BOARDS)(reserve.extend)
app.command("release", rich_help_panel=BOARDS)(reserve.release)
app.command("boot", rich_help_panel=BOARDS)(board.boot)
app.command("shell", cls=WithCommand, rich_help_panel=BOARDS)(shell.shell)
app.command("console", rich_help_panel=BOARDS)(board.console)
app.command("power", rich_help_panel=BOARDS)(board.power)

app.command("bringup", rich_help_panel=LAB)(bringup.bringup)
app.command("up", rich_help_panel=LAB)(up.up)
app.command("down", rich_help_panel=LAB)(up.down)
app.command("doctor", rich_help_panel=LAB)(doctor.doctor)
app.command("sync", rich_help_panel=LAB)(sync.sync)
app.command("units", rich_help_panel=LAB)(units.units)
app.command("ci", rich_help_panel=LAB)(ci.ci)
app.command("health", rich_help_panel=LAB)(health.health)
app.command("quarantine", rich_help_panel=LAB)(upkeep.quarantine)
app.command("heal", rich_help_panel=LAB)(upkeep.heal)
app.command("janitor", rich_help_panel=LAB)(upkeep.janitor)
app.command("coordinator", hidden=True)(upkeep.coordinator)

app.add_typer(targets.app, name="targets", rich_help_panel=PARTS)
app.add_typer(images.app, name="images", rich_help_panel=PARTS)
app.add_typer(rack.app, name="rack", rich_help_panel=PARTS)
app.add_typer(vm.app, name="vm", rich_help_panel=PARTS)
app.command(
    "test",
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
    rich_help_panel=PARTS,
)(check.own_checks)


def main() -> None:
    """Entry point of the ``lab`` command."""
    try:
        app()
    except SharelabError as error:
        err.print(f"[bold red]lab:[/] {escape(str(error))}", markup=True, soft_wrap=True)
        sys.exit(error.exit_code)
