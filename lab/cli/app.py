"""The root of the command line: command groups, and errors as one line with an exit code."""

from __future__ import annotations

import os
import sys

# Before anything imports gRPC: its handlers of fork(2) break children (grpc/grpc#43055), and ours use no gRPC
# before they are another program.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")

import typer

from lab.base.errors import SharelabError
from lab.base.ui import err
from lab.cli import (
    board,
    boards,
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

app = typer.Typer(
    name="lab",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Boot ARM64 boards and decide, from evidence, which buffers their decoders and GPUs can share.",
)

app.command("run")(run.run)
app.command("decode")(decode.decode)
app.add_typer(images.app, name="images")
app.add_typer(rack.app, name="rack")
app.add_typer(vm.app, name="vm")
app.command("shell")(shell.shell)
app.command("console")(board.console)
app.command("power")(board.power)
app.command("boot")(board.boot)
app.add_typer(targets.app, name="targets")
results.app.command("diff")(results_change.diff_runs)
results.app.command("trend")(results_change.trend)
results.app.command("add")(results_files.add)
results.app.command("import")(results_files.import_)
results.app.command("export")(results_files.export)
app.add_typer(results.app, name="results")
app.add_typer(expect.app, name="expect")
app.command("report")(report.report)
app.command("serve")(serve.serve)
app.command("sync")(sync.sync)
app.command("compare")(compare.compare)
app.command("ci")(ci.ci)
app.command("doctor")(doctor.doctor)
app.command("units")(units.units)
app.command("up")(up.up)
app.command("down")(up.down)
app.command("boards")(boards.boards)
app.command("reserve", cls=reserve.WithCommand)(reserve.reserve)
app.command("extend")(reserve.extend)
app.command("release")(reserve.release)
app.command("quarantine")(upkeep.quarantine)
app.command("heal")(upkeep.heal)
app.command("health")(health.health)
app.command("janitor")(upkeep.janitor)
app.command("test", context_settings={"allow_extra_args": True, "ignore_unknown_options": True})(
    check.own_checks
)


def main() -> None:
    """Entry point of the ``lab`` command."""
    try:
        app()
    except SharelabError as error:
        err.print(f"[bold red]lab:[/] {error}", markup=True, soft_wrap=True)
        sys.exit(error.exit_code)
