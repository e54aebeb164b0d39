"""``lab expect``: the files that say which cells are known to differ."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lab.cli.results import StoreOption, store_path

app = typer.Typer(help="Keep what is known of single cells: failures, flakes, skips.", no_args_is_help=True)

FolderOption = Annotated[
    Path | None, typer.Option("--folder", help="Where the files are.", show_default="expectations/")
]


@app.command("update")
def update(
    run: Annotated[
        str, typer.Argument(metavar="RUN", help="A run's name, the beginning of one, or 'last'.")
    ] = "last",
    store: StoreOption = None,
    folder: FolderOption = None,
    link: Annotated[str | None, typer.Option(metavar="URL", help="Where the new ones are discussed.")] = None,
    write: Annotated[bool, typer.Option("--write", help="Change the files instead of showing how.")] = False,
) -> None:
    """Propose, as a diff, the expectation files with which RUN would be as expected.

    New failures are added, known ones that pass are taken out, those that fail in another way are changed,
    and what changed its mind more than once in its last runs is called a flake.

    Examples:
      lab expect update | git apply
      lab expect update last --link https://example.org/bug/1 --write
    """
    from lab.base.ui import err
    from lab.cli.results_change import wavering
    from lab.results.expectations import Expectations
    from lab.results.propose import NO_LINK, propose
    from lab.results.store import Store

    with Store(store_path(store), create=False) as kept:
        outcome = kept.outcome(kept.find(run), heavy=False)
        flaky = wavering(kept, [cell.key for cell in outcome.unexpected])
    proposal = propose(outcome.cells, Expectations(folder), link=link or NO_LINK, flaky=flaky)
    for note in proposal.notes:
        err.print(f"note: {note}", soft_wrap=True)
    if not proposal.files:
        why = (
            "the rest is for a person to decide"
            if proposal.notes
            else "no failure is new, no known one changed"
        )
        err.print(f"nothing to change: {why}")
        return
    if write:
        proposal.write()
        for path in proposal.files:
            err.print(f"wrote {path}", soft_wrap=True)
    else:
        typer.echo(proposal.diff(), nl=False)
    if link is None and f" {NO_LINK}\n" in proposal.diff() + "\n".join(proposal.files.values()):
        err.print(f"put a link in place of {NO_LINK}: a line without one is refused (or give --link)")


@app.command("list")
def list_all(folder: FolderOption = None) -> None:
    """Check every expectation file and list what is in them."""
    from lab.base.ui import out
    from lab.results.expectations import Expectations

    found = Expectations(folder)
    for item in found.all:
        out.print(f"{item.file}:{item.line}: {item}", soft_wrap=True, highlight=False)
    if not found.all:
        out.print(f"{found.folder}: no expectations", soft_wrap=True)
