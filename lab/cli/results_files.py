"""``lab results add``, ``import`` and ``export``: results in and out of the store."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lab.cli.results import StoreOption, store_path


def add(
    logs: Annotated[list[Path], typer.Argument(help="Folders of runs, or result logs (JSON lines).")],
    store: StoreOption = None,
) -> None:
    """Take runs into the store. What it has already is left as it is, so do it as often as you like.

    Example: lab results add --store postgresql://lab@server/lab results/2026-*
    """
    from lab.base.ui import err, out
    from lab.results.folder import RunFolder
    from lab.results.store import Store

    with Store(store_path(store)) as kept:
        for path in logs:
            done = kept.ingest(RunFolder(path).log if path.is_dir() else path)
            for problem in done.problems:
                err.print(f"note: {problem}", soft_wrap=True, markup=False)
            had = f", {done.known} were there" if done.known else ""
            out.print(f"{path}: {done.new} results{had}", soft_wrap=True, markup=False)
