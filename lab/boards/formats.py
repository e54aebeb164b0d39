"""What a decoder says of its formats, in words for a person (`lab.agent.formats.decoder_formats`)."""

from __future__ import annotations

import errno
from collections.abc import Iterator, Mapping
from typing import Any


def sizes(coded: Mapping[str, Any]) -> str:
    """The sizes that a decoder takes of a coded format: "16x16 to 640x368 in steps of 16x16"."""
    found = coded["sizes"]
    if found is None:
        return "of sizes that it does not tell"
    low, high, step = ("x".join(map(str, found[word])) for word in ("min", "max", "step"))
    if low == high:
        return low
    return f"{low} to {high}" + (f" in steps of {step}" if step != "1x1" else "")


def raw(found: Mapping[str, Any]) -> str:
    """What a frame is in memory: rows and bytes of each memory plane."""
    if "errno" in found:
        return f"refused: {errno.errorcode.get(found['errno'], found['errno'])}"
    planes = found["planes"]
    lines = " + ".join(str(plane["bytesperline"]) for plane in planes)
    images = " + ".join(str(plane["sizeimage"]) for plane in planes)
    return f"{found['height']} lines of {lines} bytes, {images} bytes"


def lines(formats: Mapping[str, Any]) -> Iterator[str]:
    """All of it, a line a format: a coded one with its sizes, below it the raw ones of the frame."""
    for name, coded in formats["coded"].items():
        asked = next((one for one in coded["raw"].values() if "errno" not in one), None)
        example = f"; a frame of {asked['width']}x{asked['height']}:" if asked else ""
        refused = errno.errorcode.get(coded.get("errno", 0))
        yield f"{name} {sizes(coded)}{example}" + (f"; refused: {refused}" if refused else "")
        yield from (f"  {fourcc} {raw(found)}" for fourcc, found in coded["raw"].items())
