"""``lab results add``, ``import`` and ``export``: results in and out of the store."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lab.base.words import IommuMode
from lab.cli.results import StoreOption, store_path


def add(
    logs: Annotated[
        list[Path], typer.Argument(metavar="LOG", help="Folders of runs, or result logs (JSON lines).")
    ],
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
                err.print(f"note: {problem}", soft_wrap=True)
            had = f", {done.known} were there" if done.known else ""
            out.print(f"{path}: {done.new} results{had}", soft_wrap=True)


def export(
    run: Annotated[
        str, typer.Argument(metavar="RUN", help="A run's name, the beginning of one, or 'last'.")
    ] = "last",
    form: Annotated[str, typer.Option("--format", help="kcidb (v5.3), junit or json.")] = "kcidb",
    output: Annotated[
        Path, typer.Option("-o", "--output", metavar="FILE", help="Where to.", show_default="standard output")
    ] = Path("-"),
    origin: Annotated[str, typer.Option(help="The name of this CI system, for KCIDB.")] = "sharelab",
    store: StoreOption = None,
) -> None:
    """Write a run for other systems: a KCIDB report, JUnit XML, or every cell as JSON.

    Example: lab results export last --origin mylab -o report.json
    """
    from lab.base.errors import ConfigError
    from lab.results.folder import write_file, write_json, write_junit
    from lab.results.store import Store

    writers = {"junit": write_junit, "json": write_json}
    if form not in (*writers, "kcidb"):
        raise ConfigError(f"'{form}' is not a format", hint="kcidb, junit or json")
    with Store(store_path(store), create=False) as kept:
        outcome = kept.outcome(kept.find(run))
    if form != "kcidb":
        writers[form](outcome, output)
        return
    import json

    from lab.results.kcidb import report

    document = report(outcome, origin)
    write_file((json.dumps(document, indent=1) + "\n").encode, output)


def import_(
    files: Annotated[list[Path], typer.Argument(metavar="FILE", help="Files of other tools.")],
    target: Annotated[str, typer.Option("-t", "--target", help="The kind of board that they are of.")],
    soc: Annotated[str, typer.Option(help="Its SoC.")] = "",
    place: Annotated[str, typer.Option(help="The board.")] = "",
    kernel: Annotated[str, typer.Option(help="The kernel's release.")] = "",
    iommu: Annotated[IommuMode, typer.Option(help="The IOMMU mode.")] = IommuMode.TRANSLATED,
    tool: Annotated[
        str, typer.Option(help="The tool's name: the suite in our matrix.", show_default="the format")
    ] = "",
    form: Annotated[
        str,
        typer.Option("--format", help="junit, v4l2-compliance, igt, lava, kcidb.", show_default="found out"),
    ] = "",
    run: Annotated[str, typer.Option(help="The run's name.", show_default="made from the file")] = "",
    store: StoreOption = None,
) -> None:
    """Take in what other tools measured: JUnit (fluster, LAVA, ...), v4l2-compliance, IGT, LAVA, KCIDB.

    A file is a run. Taking it in twice changes nothing.

    Examples:
      lab results import fluster.xml -t rock5b --soc rk3588 --tool fluster
      v4l2-compliance -d /dev/video0 > c.txt; lab results import c.txt -t rock5b --soc rk3588
    """
    from lab.base.ui import out
    from lab.results.foreign import Origin, read
    from lab.results.store import Store

    origin = Origin(tool=tool, target=target, soc=soc, place=place, kernel=kernel, iommu=iommu, run=run)
    found = [(path, read(path, origin, form)) for path in files]
    with Store(store_path(store)) as kept:
        for path, contents in found:
            done = kept.ingest(contents)
            name = contents.runs[0].id
            had = f", {done.known} were there" if done.known else ""
            out.print(f"{path}: {done.new} results{had}: run {name}", soft_wrap=True)
