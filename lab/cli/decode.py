"""``lab decode``: the hash of every frame of an FWHT stream, by the reference decoder."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated

import typer

from lab.base import ui
from lab.base.errors import ConfigError

if TYPE_CHECKING:
    from lab.media import Stream


@dataclass(frozen=True)
class Row:
    """One decoded frame as it is listed. ``type`` is I or P; ``sha256`` is that of its NV12 bytes."""

    index: int
    width: int
    height: int
    type: str
    sha256: str


Picture = tuple[Row, bytes]
"""A row and its NV12 bytes: what any decoder, the reference or a board's, hands to ``show``."""


def decode(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="FWHT frames one after another.", show_default=False)
    ],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Keep the frames in this file, as NV12.")
    ] = None,
    on: Annotated[
        str | None, typer.Option(metavar="TARGET", help="Decode on a board of this target instead.")
    ] = None,
    iommu: Annotated[
        str | None, typer.Option(metavar="MODE", help="With --on: IOMMU mode (default: the target's first).")
    ] = None,
    allocator: Annotated[
        str, typer.Option(metavar="NAME", help="With --on: whose buffers the board's decoder writes into.")
    ] = "decoder-mmap",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Decode an FWHT stream: number, size, type (I or P) and SHA-256 of the NV12 bytes of every frame.

    By the reference decoder, or with --on by a board's decoder into a buffer of the allocator.
    """
    from lab.media import Stream
    from lab.media.stream import named

    stream = Stream.read(file)
    if on is None and iommu is not None:
        raise ConfigError("--iommu needs a board", hint="say which with --on TARGET")
    with named(file):
        pictures = by_reference(stream) if on is None else by_board(stream, on, iommu, allocator)
        show(pictures, len(stream.sizes), output=output, as_json=as_json)


def by_reference(stream: Stream) -> Iterator[Picture]:
    """The frames by the reference decoder. Raises MediaError."""
    from lab.media import decode as frames_of

    for frame in frames_of(stream.data):
        kind = "I" if frame.intra else "P"
        yield Row(frame.index, frame.width, frame.height, kind, frame.sha256), frame.nv12()


def by_board(stream: Stream, target: str, mode: str | None, allocator: str) -> Iterator[Picture]:
    """The frames as a board of ``target`` decodes them. Raises ConfigError, LabError, BoardError."""
    from hashlib import sha256

    from lab.runs.decode import decode_on, packed
    from lab.sharing import ALLOCATORS

    known = {name: found for name, found in ALLOCATORS.items() if not found.copy}
    if allocator not in known:
        raise ConfigError(f"unknown allocator '{allocator}'", hint=f"known: {', '.join(known)}")
    share = decode_on(target, mode, known[allocator], stream)
    ui.err.print(f"{share.verdict} into {allocator}: {share.judgement.reason}")
    for frame, pixels in zip(stream.frames, packed(share, stream), strict=True):
        kind = "I" if frame.intra else "P"
        yield Row(frame.index, frame.width, frame.height, kind, sha256(pixels).hexdigest()), pixels


def show(pictures: Iterator[Picture], total: int, *, output: Path | None, as_json: bool) -> None:
    """Print the rows, and keep the pixels in ``output``, once all of them are decoded.

    Where decoding fails on the way, nothing is printed and no file is left behind. Raises ConfigError
    where ``output`` cannot be written.
    """
    rows = []
    with ui.task("decode", total) as task, _whole_file(output) as keep:
        for row, pixels in pictures:
            rows.append(row)
            if keep is not None:
                keep.write(pixels)
            task.advance()
    if as_json:
        typer.echo(json.dumps([asdict(row) for row in rows], indent=2))
        return
    for row in rows:
        typer.echo(f"{row.index:5}  {row.width}x{row.height}  {row.type}  {row.sha256}")


@contextmanager
def _whole_file(path: Path | None) -> Iterator[IO[bytes] | None]:
    """A file that appears under its name when the body has ended well, or not at all."""
    if path is None:
        yield None
        return
    temporary = ""
    try:
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
            temporary = file.name
            yield file
        umask = os.umask(0)
        os.umask(umask)
        Path(temporary).chmod(0o666 & ~umask)
        Path(temporary).replace(path)
        temporary = ""
    except OSError as error:
        raise ConfigError(f"cannot be written ({error.strerror})", file=path) from None
    finally:
        if temporary:
            Path(temporary).unlink(missing_ok=True)
