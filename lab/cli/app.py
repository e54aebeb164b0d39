"""The root of the command line: command groups, and errors as one line with an exit code."""

from __future__ import annotations

import sys

import typer

from lab.base.errors import SharelabError
from lab.base.ui import err

app = typer.Typer(
    name="lab",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Boot ARM64 boards and decide, from evidence, which buffers their video decoders and GPUs can share.",
)


def main() -> None:
    """Entry point of the ``lab`` command."""
    try:
        app()
    except SharelabError as error:
        err.print(f"[bold red]lab:[/] {error}", markup=True, soft_wrap=True)
        sys.exit(error.exit_code)
