"""Streams for the decoders of real boards, made by Debian's ffmpeg, with the hash of every frame.

What a frame must be comes from ffmpeg's software decoders. ffmpeg runs out of its unpacked packages, so
neither the machine's version nor root is needed.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from pydantic import Field, model_validator

from lab.base import dirs, yamlfile
from lab.base.errors import LabError
from lab.base.yamlfile import Strict
from lab.imaging import toolchain
from lab.imaging.builder import image_cache
from lab.imaging.cache import Cache, Work, digest, digest_file
from lab.imaging.resolve import code
from lab.imaging.single import unpack_package

INDEX = "streams.json"
PROGRAM, PROBE = "usr/bin/ffmpeg", "usr/bin/ffprobe"
EXACT = ("-fflags", "+bitexact", "-flags:v", "+bitexact")
"""No version and no date in the streams."""


class Codec(Strict):
    """How a kind of stream is made. ``format``: ffmpeg's muxer, and the file's suffix.

    ``header``: bytes that the format puts before each packet, which are no part of the stream.
    """

    encoder: str
    format: str
    header: int = Field(default=0, ge=0)
    options: tuple[str, ...] = ()


class Size(Strict):
    """Streams of one size in pixels; ``codecs``: those that can have it, all where none is named."""

    size: tuple[int, int]
    frames: int = Field(gt=0)
    codecs: tuple[str, ...] = ()


class StreamRecipe(Strict):
    """``images/streams/recipe.yaml``."""

    suite: str
    package: str
    rate: int = Field(gt=0)
    pattern: str
    codecs: dict[str, Codec]
    sizes: tuple[Size, ...]

    @model_validator(mode="after")
    def _known(self) -> Self:
        for entry in self.sizes:
            if unknown := set(entry.codecs) - set(self.codecs):
                raise ValueError(f"no codec {', '.join(sorted(unknown))}, only {', '.join(self.codecs)}")
        return self


@dataclass(frozen=True)
class CodedStream:
    """A stream and what it decodes to.

    ``frames``: the hex SHA-256 of each decoded frame in the order of display, its visible pixels in I420
    without padding. ``pieces``: offset and bytes of what a decoder's OUTPUT buffer gets at a time, an access
    unit or a frame.
    """

    path: Path
    codec: str
    width: int
    height: int
    frames: tuple[str, ...]
    pieces: tuple[tuple[int, int], ...]
    sha256: str


def load() -> StreamRecipe:
    """The recipe. Raises ConfigError with file and line."""
    return yamlfile.load(dirs.root() / "images/streams/recipe.yaml", StreamRecipe)


def streams(*, use_mirror: str | None = None) -> list[CodedStream]:
    """All streams of the recipe, from the cache, or made now.

    Raises ConfigError for the recipe, LabError where the mirror does not give ffmpeg or it fails.
    """
    recipe, cache = load(), image_cache()
    key = digest([recipe.model_dump(mode="json"), toolchain.host_architecture(), code("apt", "streams")])

    def make(work: Work) -> None:
        words = ffmpeg(cache, recipe, use_mirror=use_mirror)
        probe = ffmpeg(cache, recipe, use_mirror=use_mirror, program=PROBE)
        made = [
            _encode(work, words, recipe, name, entry)
            | {"pieces": _pieces(work, probe, work.path / _file(recipe, name, entry), recipe.codecs[name])}
            for entry in recipe.sizes
            for name in entry.codecs or recipe.codecs
        ]
        (work.path / INDEX).write_text(json.dumps(made, indent=1) + "\n")

    with cache.in_use():
        folder = cache.step("streams", key, make).path
    return [
        CodedStream(
            folder / one.pop("file"),
            frames=tuple(one.pop("frames")),
            pieces=tuple((offset, size) for offset, size in one.pop("pieces")),
            **one,
        )
        for one in json.loads((folder / INDEX).read_text())
    ]


def pictures(stream: CodedStream, *, count: int | None = None) -> list[bytes]:
    """What ``stream`` decodes to, by the software decoder: visible pixels in I420, the first ``count``.

    Raises LabError where ffmpeg fails, or gives pictures of another hash than when the stream was made.
    """
    argv = [*ffmpeg(image_cache(), load()), "-nostdin", "-v", "error", "-i", str(stream.path)]
    argv += ["-frames:v", str(count)] if count else []
    argv += ["-pix_fmt", "yuv420p", "-f", "rawvideo", "-"]
    done = subprocess.run(argv, capture_output=True, env={**os.environ, "LC_ALL": "C"}, check=False)
    size = _bytes(stream.width, stream.height)
    found = [done.stdout[at : at + size] for at in range(0, len(done.stdout), size)]
    hashes = [hashlib.sha256(picture).hexdigest() for picture in found]
    if not found or hashes != list(stream.frames[:count]):
        said = done.stderr.decode(errors="replace").strip()
        raise LabError(f"ffmpeg does not decode {stream.path.name} as when it was made: {said}")
    return found


def ffmpeg(
    cache: Cache, recipe: StreamRecipe, *, use_mirror: str | None = None, program: str = PROGRAM
) -> list[str]:
    """The words that start the recipe's ffmpeg, unpacked in the cache. Raises LabError without a mirror."""
    host = toolchain.host_architecture()

    def make(work: Work) -> None:
        drop = [*toolchain.DROP, "usr/share", "usr/lib/*/dri"]
        unpack_package(
            work,
            cache,
            recipe.package,
            recipe.suite,
            architecture=host,
            needs=True,
            drop=drop,
            use_mirror=use_mirror,
        )

    key = digest([recipe.suite, recipe.package, host, code("apt", "single", "streams")])
    tree = cache.step("ffmpeg", key, make).path / "root"
    linker, triplet = toolchain.LINKERS[host]
    libraries = tree / "usr/lib" / triplet
    # some libraries lie in folders of their own, and are found by links that no maintainer script made
    folders = [libraries, *sorted({path.parent for path in libraries.glob("*/*.so*")})]
    return [str(tree / linker), "--library-path", ":".join(map(str, folders)), str(tree / program)]


def _encode(work: Work, words: list[str], recipe: StreamRecipe, name: str, entry: Size) -> dict[str, Any]:
    codec, (width, height) = recipe.codecs[name], entry.size
    file = work.path / _file(recipe, name, entry)
    # RGB in between: in I420 the pattern would be made of pairs of pixels only
    source = f"{recipe.pattern}=size={width}x{height}:rate={recipe.rate},format=rgb24"
    plain = [*words, "-nostdin", "-v", "error", "-y"]
    environment = {**os.environ, "LC_ALL": "C"}
    argv = [*plain, "-f", "lavfi", "-i", source, "-frames:v", str(entry.frames), "-pix_fmt", "yuv420p"]
    argv += ["-c:v", codec.encoder, *codec.options, *EXACT, "-f", codec.format, str(file)]
    work.run(argv, env=environment, what=f"ffmpeg making {file.name}")
    argv = [*plain, "-i", str(file), "-pix_fmt", "yuv420p", "-f", "framehash", "-hash", "sha256", "-"]
    said = work.run(argv, env=environment, what=f"ffmpeg decoding {file.name}")
    size = _bytes(width, height)
    frames = re.findall(rf"^0,.*, *{size}, *([0-9a-f]{{64}})$", said, re.MULTILINE)
    if len(frames) != entry.frames:
        raise LabError(f"{file.name} decodes to {len(frames)} frames of {size} bytes, not {entry.frames}")
    about = {"file": file.name, "codec": name, "width": width, "height": height}
    return {**about, "frames": frames, "sha256": digest_file(file)}


def _pieces(work: Work, words: list[str], file: Path, codec: Codec) -> list[tuple[int, int]]:
    """Offset and bytes of each packet: ffmpeg's parsers know where access units end."""
    argv = [*words, "-v", "error", "-show_entries", "packet=pos,size", "-of", "json", str(file)]
    said = work.run(argv, env={**os.environ, "LC_ALL": "C"}, what=f"ffprobe reading {file.name}")
    return [
        (int(packet["pos"]) + codec.header, int(packet["size"])) for packet in json.loads(said)["packets"]
    ]


def _file(recipe: StreamRecipe, name: str, entry: Size) -> str:
    return f"{name}-{entry.size[0]}x{entry.size[1]}.{recipe.codecs[name].format}"


def _bytes(width: int, height: int) -> int:
    """Of a picture in I420; sizes of chroma are rounded up."""
    return width * height + 2 * ((width + 1) // 2) * ((height + 1) // 2)
