"""The root of the command line: command groups, and errors as one line with an exit code."""

from __future__ import annotations

import sys

import typer

from lab.base.errors import SharelabError
from lab.base.ui import err
from lab.cli import check, ci, decode, images, rack, results, run, shell, sync, targets, units, vm

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
app.add_typer(targets.app, name="targets")
app.add_typer(results.app, name="results")
app.command("sync")(sync.sync)
app.command("ci")(ci.ci)
app.command("units")(units.units)
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
