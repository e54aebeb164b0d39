"""``lab images``: build what boards boot, look at it, take away what is old."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from lab.base import ui

if TYPE_CHECKING:
    from lab.imaging import Image

app = typer.Typer(
    help="Kernel, root file system and boot loader of boards and guests: images/NAME.yaml.",
    no_args_is_help=True,
)

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command("build")
def build_image(
    name: Annotated[
        str, typer.Argument(metavar="RECIPE", help="A recipe of images/, or the path of one.")
    ] = "board-trixie",
    rebuild: Annotated[
        bool, typer.Option("--rebuild", help="Fetch the newest packages and make every step again.")
    ] = False,
    mirror: Annotated[
        str | None,
        typer.Option(
            help="Debian mirror; else SHARELAB_MIRROR, what apt is configured for, mmdebstrap's default.",
            show_default=False,
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Build an image as far as anything that goes into it has changed."""
    from lab.imaging import build

    image = build(name, rebuild=rebuild, use_mirror=mirror)
    if as_json:
        ui.out.print_json(json.dumps(_as_dict(image)))
        return
    state = "cached" if image.cached else "built"
    ui.out.print(f"{image.name}  {image.digest[:7]}  kernel {_kernels(image)}  {state}", soft_wrap=True)
    if not image.cached:
        for step, about in sorted(image.manifest["steps"].items(), key=lambda item: -item[1]["seconds"]):
            spent = f"{about['seconds']:5.1f} s" if about["made"] else " cached"
            ui.out.print(f"  {step:<16} {spent}")
    ui.out.print(f"  {image.path}", soft_wrap=True)


@app.command("list")
def list_images(as_json: Json = False) -> None:
    """List the images in the cache, newest first; * is what the recipe means now."""
    from lab.imaging.builder import image_cache
    from lab.imaging.store import images

    found = images(image_cache())
    if as_json:
        rows = [{**_as_dict(one.image), "size": one.size, "current": one.current} for one in found]
        ui.out.print_json(json.dumps(rows))
        return
    if not found:
        ui.out.print("no images yet: lab images build")
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("", "NAME", "DIGEST", "KERNEL"):
        table.add_column(column)
    table.add_column("SIZE", justify="right")
    table.add_column("AGE", justify="right")
    for one in found:
        mark = "*" if one.current else ""
        age = _age((datetime.now(UTC) - one.built).total_seconds())
        size = f"{one.size / 1e6:.0f} MB"
        kernel = _kernels(one.image)
        table.add_row(mark, one.image.name, one.image.digest[:7], kernel, size, age)
    ui.out.print(table)


@app.command("streams")
def list_streams(as_json: Json = False) -> None:
    """Make H.264, HEVC, VP8 and VP9 streams with the hash of every frame: images/streams/recipe.yaml."""
    from lab.imaging.streams import streams

    with ui.task("streams"):
        found = streams()
    if as_json:
        rows = [{**asdict(one), "path": str(one.path)} for one in found]
        ui.out.print_json(json.dumps(rows))
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("CODEC", "SIZE"):
        table.add_column(column)
    for column in ("FRAMES", "BYTES"):
        table.add_column(column, justify="right")
    table.add_column("FILE")
    for one in found:
        size = f"{one.width}x{one.height}"
        table.add_row(one.codec, size, str(len(one.frames)), str(one.path.stat().st_size), one.path.name)
    ui.out.print(table)
    ui.out.print(f"  {found[0].path.parent}", soft_wrap=True)


@app.command("gc")
def collect(
    keep_days: Annotated[
        float, typer.Option(min=0, help="Keep what was used within this many days, current or not.")
    ] = 7,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be removed.")] = False,
    as_json: Json = False,
) -> None:
    """Remove images, build steps and packages that no recipe uses any more."""
    from lab.imaging.builder import image_cache
    from lab.imaging.store import sweep

    cache = image_cache()
    with ui.task("looking through the image cache"):
        swept = sweep(cache, keep_days=keep_days, dry_run=dry_run)
    names = [str(path.relative_to(cache.root)) for path in swept.paths]
    if as_json:
        ui.out.print_json(json.dumps({"removed": names, "bytes": swept.size, "dry_run": dry_run}))
        return
    for name in names:
        ui.out.print(f"  {name}")
    verb = "would free" if dry_run else "freed"
    ui.out.print(f"{len(names)} unused, {verb} {swept.size / 1e6:.0f} MB")


def _as_dict(image: Image) -> dict[str, object]:
    from lab.imaging.image import FILES

    files = {name: str(getattr(image, name)) for name in FILES}
    return {**image.manifest, "path": str(image.path), "paths": files, "cached": image.cached}


def _kernels(image: Image) -> str:
    """The board's kernel, further ones by name, and what the mirror did not give."""
    about = image.manifest
    others = {name: release for name, release in about.get("kernels", {}).items() if name != "board"}
    extra = [f"{name} {release.partition('+')[0]}" for name, release in others.items()]
    return ", ".join([about["kernel"], *extra, *(f"no {name}" for name in about.get("missing", {}))])


def _age(seconds: float) -> str:
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"
