"""``lab compare``: the same sharing paths side by side, and why they differ."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from lab.base.errors import ConfigError
from lab.cli.results import StoreOption


class By(StrEnum):
    """What the columns may be (`lab.results.compare.columns.DIMENSIONS`)."""

    TARGET = "target"
    SOC = "soc"
    BOARD = "board"
    IOMMU = "iommu"
    KERNEL = "kernel"
    VMM = "vmm"
    RUN = "run"
    DATE = "date"


class Form(StrEnum):
    """How it is written."""

    TEXT = "text"
    MARKDOWN = "markdown"
    HTML = "html"
    CSV = "csv"
    JSON = "json"


SUFFIXES = {
    ".md": Form.MARKDOWN,
    ".html": Form.HTML,
    ".htm": Form.HTML,
    ".csv": Form.CSV,
    ".json": Form.JSON,
    ".txt": Form.TEXT,
}


class Iommu(StrEnum):
    """Of boards, which of their IOMMU modes."""

    WIDEST = "widest"
    ALL = "all"
    TRANSLATED = "translated"
    LAZY = "lazy"
    PASSTHROUGH = "passthrough"
    OFF = "off"


def compare(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[NAME]...",
            help="SoCs, targets, boards, kernels, VMMs, IOMMU modes, dates (2026-11-22) or runs; "
            "without any, all targets.",
        ),
    ] = None,
    by: Annotated[
        By | None, typer.Option("--by", help="What the names are, where that is not clear.")
    ] = None,
    iommu: Annotated[
        Iommu,
        typer.Option(
            "--iommu", help="Of boards: the mode that translates most, a column for each, or this mode only."
        ),
    ] = Iommu.WIDEST,
    target: Annotated[list[str] | None, typer.Option("--target", "-t", help="Only this target.")] = None,
    suite: Annotated[list[str] | None, typer.Option("--suite", help="Only this suite: board, vm.")] = None,
    kernel: Annotated[list[str] | None, typer.Option("--kernel", help="Only this kernel release.")] = None,
    samples: Annotated[
        int,
        typer.Option("-n", "--samples", min=1, max=1000, help="Results of a cell to look at, newest first."),
    ] = 10,
    figures: Annotated[bool, typer.Option("--figures", help="The figures of every row.")] = False,
    differences: Annotated[
        bool, typer.Option("--differences", "-d", help="Only rows in which something differs.")
    ] = False,
    output: Annotated[
        Path | None,
        typer.Option(
            "-o", "--output", metavar="FILE", help="Where to: .md, .html, .csv or .json say the form."
        ),
    ] = None,
    form: Annotated[Form | None, typer.Option("--format", "-f", help="The form of the output.")] = None,
    store: StoreOption = None,
) -> None:
    """Compare sharing paths across SoCs, kernels, VMMs, IOMMU modes, dates or runs, and say why they differ.

    Each difference comes with the constraint that explains it; one that nothing explains stands out.
    Figures come with their 95 % interval, and a difference only where the samples can tell.

    Examples:
      lab compare rk3399 rk3588 imx8mq
      lab compare virt-smmu virt-cma --iommu off -o socs.md
      lab compare --by iommu --target virt-smmu
      lab compare 2026-11-22T21 last --differences
    """
    wanted = form or _form_of(output)
    from lab.cli.results import store_path
    from lab.results.compare.gather import Request, comparison
    from lab.results.store import Store

    request = Request(
        names=tuple(names or ()),
        by=by or "",
        iommu=iommu,
        targets=tuple(target or ()),
        suites=tuple(suite or ()),
        kernels=tuple(kernel or ()),
        samples=samples,
    )
    with Store(store_path(store), create=False) as kept:
        found = comparison(kept, request)
    if wanted is Form.TEXT and output is None:
        from lab.base.ui import out
        from lab.results.compare.terminal import show

        show(out, found, every_figure=figures, only_differences=differences)
        return
    from lab.base.ui import out
    from lab.results.compare.write import write

    write(found, wanted, output or Path("-"), every_figure=figures, only_differences=differences)
    if output is not None and str(output) != "-":
        out.print(f"comparison: {output}", soft_wrap=True)


def _form_of(output: Path | None) -> Form:
    """The form that a file's name asks for. Raises ConfigError where it asks for none."""
    if output is None or str(output) == "-":
        return Form.TEXT
    if output.suffix not in SUFFIXES:
        raise ConfigError(f"-o {output}: its name says no form", hint=f"{', '.join(SUFFIXES)}, or --format")
    return SUFFIXES[output.suffix]
