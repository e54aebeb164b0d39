"""``lab run``: boot boards, run suites, print the sharing matrix."""

from __future__ import annotations

import os
import re
import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from lab.base import dirs
from lab.base.errors import ExitCode
from lab.base.ui import err
from lab.cli.coordinator import Address, seconds_option

OWN = "One's own kernel and files (docs/own-kernel.md)"


def _suites(incomplete: str) -> list[str]:
    from lab.runs.request import suite_names

    return [name for name in suite_names() if name.startswith(incomplete)]


def _targets(incomplete: str) -> list[str]:
    from lab.boards.target import names

    return [name for name in names() if name.startswith(incomplete)]


def run(
    suites: Annotated[
        list[str] | None,
        typer.Argument(metavar="SUITE", help="Suites to run (default: all).", autocompletion=_suites),
    ] = None,
    target: Annotated[
        list[str] | None,
        typer.Option(
            "--target",
            "-t",
            metavar="NAME",
            help="Target to run on; repeat for more.",
            autocompletion=_targets,
        ),
    ] = None,
    iommu: Annotated[
        str | None,
        typer.Option(metavar="MODE,...", help="IOMMU modes: translated, lazy, passthrough, off."),
    ] = None,
    keyword: Annotated[
        str | None, typer.Option("-k", metavar="EXPR", help="Only tests that match, as pytest's -k.")
    ] = None,
    vmm: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KEY=VALUE",
            help="Over the target's vmm: binary=qemu-11; or one of your own: qemu=PATH|TAR|DEB, crosvm=PATH.",
        ),
    ] = None,
    kernel: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Boot this: Image, vmlinuz, .deb, .tar, build folder.", rich_help_panel=OWN
        ),
    ] = None,
    modules: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="TREE|TAR|DEB",
            help="Its modules; repeat for kernels in several packages.",
            rich_help_panel=OWN,
        ),
    ] = None,
    headers: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="Build the virtual decoder against this build folder.", rich_help_panel=OWN
        ),
    ] = None,
    dtb: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Device tree for the board.", rich_help_panel=OWN)
    ] = None,
    cmdline: Annotated[
        str,
        typer.Option(metavar="WORDS", help="Behind the target's kernel command line.", rich_help_panel=OWN),
    ] = "",
    overlay: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Files over the board's root file system.", rich_help_panel=OWN),
    ] = None,
    guest_kernel: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Kernel of the guest, as --kernel.", rich_help_panel=OWN),
    ] = None,
    results: Annotated[Path, typer.Option(metavar="DIR", help="Folder for this and earlier runs.")] = Path(
        "results"
    ),
    json: Annotated[Path | None, typer.Option(metavar="FILE", help="Also write every cell as JSON.")] = None,
    junit: Annotated[Path | None, typer.Option(metavar="FILE", help="Also write JUnit XML.")] = None,
    report: Annotated[Path | None, typer.Option(metavar="FILE", help="Also write the HTML report.")] = None,
    store: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="Take the run into this store: a file, or postgresql://USER@HOST/NAME.",
            show_default="LAB_STORE, DIR/store.sqlite",
        ),
    ] = None,
    snapshot: Annotated[
        bool | None,
        typer.Option(
            "--snapshot/--no-snapshot",
            help="Let virtual boards go on from saved boots (default: as LAB_SNAPSHOT says).",
            show_default=False,
        ),
    ] = None,
    switch: Annotated[
        bool,
        typer.Option(
            "--switch",
            help="Change the decoders' IOMMU mode while the board runs, where that is enough.",
        ),
    ] = False,
    soc: Annotated[
        list[str] | None,
        typer.Option(metavar="SOC", help="On the lab's boards with this SoC; repeat for more."),
    ] = None,
    place: Annotated[
        list[str] | None,
        typer.Option(metavar="PLACE", help="On this place of the lab; repeat for more."),
    ] = None,
    wait: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="Wait at most this long for a board: 10m, 1h (default: for ever)."),
    ] = None,
    priority: Annotated[
        float | None,
        typer.Option(help="Served before lower ones; ten minutes of waiting count as 1."),
    ] = None,
    boards: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="Boards at the same time (default: all that come free)."),
    ] = None,
    coordinator: Address = None,
    bisect: Annotated[
        bool, typer.Option("--bisect", help="Exit codes for `git bisect run`: 125 when the lab failed.")
    ] = False,
) -> None:
    """Boot a board in each IOMMU mode, run the suites, print which buffers are shared without a copy.

    Without arguments: every suite on the virtual board virt-smmu.

    With --soc, --place, --wait or --priority the boards are those of a lab
    (lab boards): leased as they come free, side by side, and given back. What
    the lab broke is tried once more, on another board of the same kind.

    Exit code 0: every verdict as expected; 1: at least one was not; 2: usage or
    configuration; 3: the lab failed and nothing can be said; 130: interrupted;
    143: terminated.

    Examples:
      lab run board --target virt-smmu --iommu translated,off
      lab run -t virt-smmu -t virt-dma32 --junit out.xml
      lab run -k "import and udmabuf"
      lab run vm --iommu off --vmm binary=qemu-11
      lab run --kernel linux-6.19.0-arm64.tar.zst --headers ~/linux
      lab run vm --vmm qemu=$HOME/qemu/build
      lab run --soc rk3399 --soc rk3588 --wait 1h --priority 5 --junit out.xml
      git bisect run lab run board --soc rk3588 --wait 1h --bisect
    """
    with _skipping(bisect):
        from lab.base.ids import new_id
        from lab.imaging.own.given import Own
        from lab.runs.launch import BoardProcess
        from lab.runs.request import DEFAULT_TARGET, Request, find_suites

        settings, own_vmm = Own.vmm_words(vmm or [])
        leased = any(given is not None for given in (soc, place, wait, priority, coordinator))
        leased = leased or _needs_a_lab(target or [])
        own = Own(
            kernel=kernel,
            guest_kernel=guest_kernel,
            modules=tuple(modules or ()),
            headers=headers,
            dtb=dtb,
            cmdline=cmdline,
            overlay=overlay,
            **own_vmm,
        ).check()
        request = Request(
            id=new_id(),
            suites=find_suites(suites or []),
            targets=tuple(dict.fromkeys(target or ([] if soc or place else [DEFAULT_TARGET]))),
            iommu=iommu,
            keyword=keyword,
            snapshot=snapshot,
            switch=switch,
            vmm=tuple(settings),
            own=own,
            results=results.absolute(),
            command=shlex.join(["lab", *sys.argv[1:]]),
            leased=leased,
            socs=tuple(dict.fromkeys(soc or [])),
            places=tuple(dict.fromkeys(place or [])),
            wait=seconds_option(wait),
            priority=priority or 0.0,
            boards=boards or 0,
            coordinator=coordinator,
        )
        first = None if leased else BoardProcess(request, request.targets[0])
        # heavy, like what follows: imported while the process gets ready
        from lab.cli.run_view import conduct

        files = {"json": json, "junit": junit, "report": report}
        raise typer.Exit(conduct(request, first, **files, store=store, bisect=bisect))


@contextmanager
def _skipping(bisect: bool) -> Iterator[None]:
    """What a revision cannot even begin, ``git bisect run`` must not take for what it looks for."""
    try:
        yield
    except Exception as error:
        if not bisect or isinstance(error, typer.Exit):
            raise
        err.print(
            f"[bold red]lab:[/] {escape(str(error))}\nskipped: nothing can be said",
            markup=True,
            soft_wrap=True,
        )
        raise typer.Exit(int(ExitCode.BISECT_SKIP)) from None


def _needs_a_lab(targets: list[str]) -> bool:
    """Whether one of ``targets`` is a physical board, and no place was reserved for the run before.

    A look at the file's text: to load it takes longer than all that is done here.
    """
    if "LG_PLACE" in os.environ:
        return False
    for name in targets:
        named = dirs.root() / "targets" / f"{name}.yaml"
        path = named if dirs.there(named) else Path(name)
        try:
            text = path.read_bytes()
        except OSError:
            continue  # `load_target` says what is wrong with it
        if not re.search(rb"^virtual:", text, re.MULTILINE):
            return True
    return False
