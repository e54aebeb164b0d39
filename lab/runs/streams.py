"""Which streams a decoder of a target gets: FWHT made here, or files that another decoder has decoded.

By the codecs that the target's file names. A cell's parameters have to be known before there is a board, so
sizes are chosen by name; whether the device takes a size, it is asked when the test begins (`why_not`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from lab.boards.agent import Agent
from lab.boards.facts import Decoder
from lab.boards.fourcc import CODES
from lab.media import Coded, Recorded, Stream, sample
from lab.media.layout import CHROMA

FWHT = "FWHT"

FILES: Mapping[str, str] = {"H264": "h264", "HEVC": "hevc", "VP8": "vp8", "VP9": "vp9"}
"""Coded format in a target file -> its streams in images/streams."""

SIZES = ((16, 16), (72, 40), (112, 80), (57, 41))
"""Sizes of FWHT streams in pixels: the least, one that is padded, a larger one, an odd one."""

SMALLEST = 3
"""Of a codec's sizes those that are tried where any will do."""

SMALL = (48, 32)
"""Of FWHT streams of several frames: the virtual decoder takes 0.2 s for each 4 KiB."""


def codecs(decoder: Decoder) -> list[str]:
    """The coded formats of ``decoder`` for which there are streams."""
    return [name for name in decoder.coded if name == FWHT or name in FILES]


def raw_formats(decoder: Decoder) -> list[str]:
    """The fourccs of its raw formats whose pixels lie in rows."""
    return [CODES[name] for name in decoder.raw if CODES.get(name) in CHROMA]


def named(decoder: Decoder) -> list[str]:
    """Names of the streams of one size each, as `get` takes them: ``72x40`` (FWHT), ``h264-98x66``."""
    own = ["x".join(map(str, size)) for size in SIZES] if FWHT in decoder.coded else []
    files = [name for name in decoder.coded if name in FILES]
    return [*own, *(f"{FILES[name]}-{size}" for name in files for size in _sizes(FILES[name]))]


def get(name: str) -> Coded:
    """The stream of this name, one of `named`. Raises LabError where files cannot be made."""
    if "-" not in name:
        width, height = map(int, name.split("x"))
        return _sample(width, height, 1)
    return _recorded(name)


def least(decoder: Decoder, agent: Agent) -> Coded:
    """One key frame, the smallest that the device takes: a matrix costs as many as it has cells.

    Of FWHT 64x64, or twice as wide where a frame has a dma-buf for each plane: of which one takes two pages
    at least, so that it can be scattered.
    """
    if FWHT in decoder.coded:
        split = all(CHROMA[fourcc][0] > 1 for fourcc in raw_formats(decoder))
        return _sample(128 if split else 64, 64, 1)
    return first_frame(_fitting(decoder, agent)[0])


def several(decoder: Decoder, agent: Agent, count: int = 3) -> Coded:
    """Frames that build on one another: ``count``, or as many as a file has."""
    if FWHT in decoder.coded:
        return _sample(*SMALL, count)
    return _fitting(decoder, agent)[0]


def changing(decoder: Decoder, agent: Agent) -> Coded:
    """A stream whose resolution changes on the way, and back: each part begins with a key frame."""
    if FWHT in decoder.coded:
        parts = [_sample(*size, 1) for size in (SMALL, (48, 48), SMALL)]
        return Stream(b"".join(part.data for part in parts))
    first, *others = _fitting(decoder, agent)
    second = next((one for one in others if one.coded == first.coded), first)
    return _joined([first, second, first])


def why_not(stream: Coded, node: str, agent: Agent) -> str:
    """Why the device does not take ``stream``, by the sizes that its driver tells; empty where it does."""
    return out_of_range(stream, node, agent.call("decoder_formats", node=node))


def out_of_range(stream: Coded, node: str, formats: Mapping[str, Any]) -> str:
    """`why_not`, of what `lab.agent.formats.decoder_formats` said.

    Empty for a codec that the target promises and the driver does not have: that is for a test to fail by.
    """
    coded = formats["coded"].get(stream.coded)
    if coded is None or coded["sizes"] is None:
        return ""
    low, high = coded["sizes"]["min"], coded["sizes"]["max"]
    for width, height in stream.shapes:
        if not (low[0] <= width <= high[0] and low[1] <= height <= high[1]):
            said = f"{low[0]}x{low[1]} to {high[0]}x{high[1]}"
            return f"{width}x{height} is none of the sizes of {stream.coded} on {node}, {said}"
    return ""


def _sizes(codec: str) -> list[str]:
    from lab.imaging.streams import load

    return [
        "x".join(map(str, entry.size)) for entry in load().sizes if codec in (entry.codecs or load().codecs)
    ]


def _fitting(decoder: Decoder, agent: Agent) -> list[Recorded]:
    """The two smallest files of each codec that the device takes; where it takes none, the first of all."""
    streams = [
        [_recorded(f"{FILES[name]}-{size}") for size in _sizes(FILES[name])[:SMALLEST]]
        for name in codecs(decoder)
    ]
    node = next(
        (found["node"] for found in agent.call("decoders") if found["device"] == decoder.device), None
    )
    fitting = [
        one
        for files in streams
        for one in [file for file in files if node is not None and not why_not(file, node, agent)][:2]
    ]
    return fitting or streams[0][:1]


@cache  # made in Python, and wanted by most cells
def _sample(width: int, height: int, count: int) -> Stream:
    return sample(width, height, count)


@cache
def _recorded(name: str) -> Recorded:
    from lab.imaging.streams import pictures, streams

    found = next(one for one in streams() if one.path.stem == name)
    data = found.path.read_bytes()
    shown = pictures(found)
    coded = next(CODES[target] for target, codec in FILES.items() if codec == found.codec)
    return Recorded(
        name=name,
        coded=coded,
        data=b"".join(data[at : at + size] for at, size in found.pieces),
        sizes=[size for _, size in found.pieces],
        shapes=[(found.width, found.height)] * len(shown),
        pictures=shown,
    )


def _joined(parts: Sequence[Recorded]) -> Recorded:
    """One behind the other."""
    return Recorded(
        name=" then ".join(part.name for part in parts),
        coded=parts[0].coded,
        data=b"".join(part.data for part in parts),
        sizes=[size for part in parts for size in part.sizes],
        shapes=[shape for part in parts for shape in part.shapes],
        pictures=[picture for part in parts for picture in part.pictures],
    )


def first_frame(stream: Coded) -> Recorded:
    """Its key frame alone, which is the first piece and the first picture."""
    size = stream.sizes[0]
    return Recorded(
        name=f"{stream.name}, first frame",
        coded=stream.coded,
        data=stream.data[:size],
        sizes=[size],
        shapes=stream.shapes[:1],
        pictures=stream.pictures[:1],
    )
