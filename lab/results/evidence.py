"""A result's evidence as a person reads it: facts, pictures, maps and logs.

Evidence comes from boards and may have any shape; what is not of the known form is shown as it is,
never trusted and never a reason to fail.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Any

from lab.results.dmamap import Drawing, draw
from lab.results.look import errno_name
from lab.results.model import Result
from lab.results.picture import difference, png, rgb_of

LOG_CHARACTERS = 64_000
"""Of a console log, its end; of other text, its beginning."""

_PICTURES = 4
_BLOBS = ("data", "reference")
# ECMA-48 control sequences and operating-system commands, as a board's console has them.
_ESCAPES = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)?|\x1b[ -/]*[0-Z\\-~]")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


@dataclass(frozen=True, slots=True)
class Picture:
    """A frame that is not what it should be; pictures are ``data:`` addresses, empty where there is none."""

    index: str
    width: int
    height: int
    actual: str
    reference: str
    difference: str
    note: str


@dataclass(frozen=True, slots=True)
class Link:
    """One station of the buffer's way. ``odd``: it is not the buffer that the others have."""

    role: str
    text: str
    odd: bool = False


@dataclass(frozen=True, slots=True)
class EvidenceView:
    """``facts``: name and value. ``texts``: title and lines. ``rest``: what no form is known for, as JSON.

    ``chain``: the dma-buf from its exporter to those who are attached to it or read it.
    """

    chain: tuple[Link, ...]
    facts: tuple[tuple[str, str], ...]
    pictures: tuple[Picture, ...]
    maps: tuple[tuple[str, Drawing], ...]
    texts: tuple[tuple[str, str], ...]
    rest: str


def view(result: Result) -> EvidenceView:
    """Everything there is to show of ``result.evidence`` and its log."""
    found = result.evidence
    texts = [
        ("IOMMU faults", _lines(found.get("fault_lines"))),
        ("Kernel messages", _lines(found.get("kmsg"))),
        ("Console", clean(result.log)[-LOG_CHARACTERS:]),
    ]
    known = _SHOWN | {name for name, _, _ in _FACTS}
    rest = {name: _without_blobs(value) for name, value in found.items() if name not in known}
    return EvidenceView(
        chain=tuple(_chain(found)),
        facts=tuple(_facts(found)),
        pictures=tuple(_pictures(found)),
        maps=tuple(_maps(found)),
        texts=tuple((title, text) for title, text in texts if text.strip()),
        rest=json.dumps(rest, indent=1, ensure_ascii=False)[:LOG_CHARACTERS] if rest else "",
    )


def clean(text: str) -> str:
    """``text`` without terminal control sequences and other control characters, lines kept."""
    return _CONTROL.sub("", _ESCAPES.sub("", text.replace("\r\n", "\n")))


def _buffer(value: Any) -> str:
    exporter, inode, size = (value.get(name) for name in ("exporter", "inode", "size"))
    return f"dma-buf of {exporter}, inode {inode}, {size} bytes"


def _pages(value: Any) -> str:
    runs = 1 + sum(b != a + 4096 for a, b in pairwise(value))
    pages, pieces = ("page" if len(value) == 1 else "pages"), ("piece" if runs == 1 else "pieces")
    return f"{len(value)} {pages} of 4 KiB in {runs} {pieces}"


def _guest_pages(value: Any) -> str:
    known = [page for page in value if page is not None]
    lost = f", {len(value) - len(known)} not found there" if len(known) < len(value) else ""
    return (_pages(known) if known else "none") + lost


def _canaries(value: Any) -> str:
    words = {True: "seen", False: "not seen", None: "not tried"}
    return ", ".join(f"{side.replace('_', ' ')} {words[seen]}" for side, seen in value.items())


def _consumer(value: Any) -> str:
    parts = [value.get(name) for name in ("name", "how", "device")]
    inode = f"inode {value['inode']}" if value.get("inode") is not None else ""
    return ", ".join(str(part) for part in (*parts, inode) if part)


def _span(value: Any) -> str:
    before, after = value
    return f"{before} before, {after} after"


def _times(value: Any) -> str:
    return ", ".join(f"{name} {float(seconds):.3f} s" for name, seconds in value.items())


def _listed(value: Any) -> str:
    return ", ".join(str(item) for item in value) or "none"


def _chain(found: Mapping[str, Any]) -> list[Link]:
    """Who made the dma-buf, which one it is, who is attached, who reads it; empty where that is not known."""
    buffer = found.get("buffer")
    if not isinstance(buffer, dict) or buffer.get("inode") is None:
        return []
    runs = buffer.get("runs")
    size = f", {buffer['size']} bytes" if buffer.get("size") is not None else ""
    pieces = f" in {runs} {'piece' if runs == 1 else 'pieces'}" if isinstance(runs, int) else ""
    links = [
        Link("exporter", str(buffer.get("exporter") or "unknown")),
        Link("dma-buf", f"inode {buffer['inode']}{size}{pieces}"),
    ]
    held = found.get("dmabuf")
    if isinstance(held, dict) and held.get("inode") is not None:
        same = held["inode"] == buffer["inode"]
        links.append(
            Link("held by the VMM", f"inode {held['inode']}, {'the same' if same else 'another'}", not same)
        )
    attached = found.get("attachments")
    if isinstance(attached, list):
        links.append(Link("attached", ", ".join(str(device) for device in attached) or "nobody"))
    consumer = found.get("consumer")
    if isinstance(consumer, dict):
        other = consumer.get("inode") is not None and consumer["inode"] != buffer["inode"]
        links.append(Link("read by", _consumer(consumer), other))
    return [Link(link.role, clean(link.text)[:200], link.odd) for link in links]


_FACTS: tuple[tuple[str, str, Any], ...] = (
    ("stage", "ended at", str),
    ("message", "message", str),
    ("errno", "error", lambda value: f"{errno_name(value)} ({value})"),
    ("refusal_line", "the kernel's reason", str),
    ("buffer", "buffer", _buffer),
    ("pages", "its memory", _pages),
    ("importer", "importer", str),
    ("attachments", "attached devices", _listed),
    ("bounced", "pages bounced (swiotlb)", str),
    ("swiotlb_hiwater", "swiotlb high-water mark", _span),
    ("faults", "IOMMU faults", str),
    ("copies", "copy commands seen", _listed),
    ("dmabuf", "held by the VMM", _buffer),
    ("guest_pages", "its pages in guest RAM", _guest_pages),
    ("canaries", "words written across", _canaries),
    ("consumer", "read by", _consumer),
    ("screen", "VMM's screendump", lambda shown: "the frame" if shown else "another picture"),
    ("payload", "bytes that the decoder writes", str),
    ("tolerance", "tolerance a byte", str),
    ("canary", "filled before with", lambda value: f"{value:#04x}"),
    ("times", "times", _times),
    ("missing", "sources this kernel lacks", _listed),
)
"""Key of the evidence, its name for people, and how to write it. None is left out: not known."""

_PLAIN: tuple[tuple[str, Any], ...] = (("stage", "done"), ("missing", []), ("tolerance", 0))
"""What is not worth a line."""

_SHOWN = {"frames", "format", "formats", "maps", "fault_lines", "kmsg", "path"}


def _facts(found: Mapping[str, Any]) -> list[tuple[str, str]]:
    facts = []
    for key, name, write in _FACTS:
        value = found.get(key)
        if value is None or value == "" or (key, value) in _PLAIN:
            continue
        try:
            text = str(write(value))
        except (TypeError, ValueError, AttributeError, KeyError):
            text = json.dumps(_without_blobs(value))
        facts.append((name, clean(text)[:2000]))
    return facts


def _pictures(found: Mapping[str, Any]) -> list[Picture]:
    frames, form = found.get("frames"), found.get("format")
    if not isinstance(frames, list) or not isinstance(form, dict):
        return []
    pictures: list[Picture] = []
    for frame in frames:
        if not isinstance(frame, dict) or len(pictures) == _PICTURES:
            continue
        picture = _picture(frame, form)
        if picture is not None:
            pictures.append(picture)
    return pictures


def _picture(frame: Mapping[str, Any], form: Mapping[str, Any]) -> Picture | None:
    """None where the frame came without its bytes, or is what it should be."""
    try:
        # The frame itself says what its bytes are; in older results it lies as the decoder wrote it, in rows
        # that may be longer than the picture is wide.
        form = frame.get("picture") or form
        fourcc = str(form.get("fourcc") or form["pixelformat"])
        width, height = int(form.get("bytesperline") or form["width"]), int(form["height"])
        actual = base64.b64decode(frame["data"], validate=True)
        wanted = base64.b64decode(frame["reference"], validate=True) if frame.get("reference") else None
        if actual == wanted:
            return None
        shown = _address(fourcc, width, height, actual)
        reference = apart = note = ""
        if wanted is not None:
            reference = _address(fourcc, width, height, wanted)
            apart = _data(png(width, height, difference(fourcc, width, height, actual, wanted)))
            wrong = sum(a != b for a, b in zip(actual, wanted, strict=False)) + abs(len(actual) - len(wanted))
            note = f"{wrong} of {len(wanted)} bytes differ"
        return Picture(str(frame.get("index", "?")), width, height, shown, reference, apart, note)
    except (KeyError, TypeError, ValueError):
        return None


def _maps(found: Mapping[str, Any]) -> list[tuple[str, Drawing]]:
    consumer = found.get("consumer")
    sources = (found.get("maps"), consumer.get("maps") if isinstance(consumer, dict) else None)
    drawings: dict[Drawing, str] = {}
    for mapping in (mapping for maps in sources if isinstance(maps, list) for mapping in maps):
        if isinstance(mapping, dict):
            drawing = draw(mapping)
            if drawing is not None:
                # The same pages are often mapped more than once in a share.
                drawings.setdefault(drawing, str(mapping.get("device", "")))
    return [(device, drawing) for drawing, device in list(drawings.items())[:_PICTURES]]


@lru_cache(maxsize=64)  # the cells of a run have their references in common
def _address(fourcc: str, width: int, height: int, frame: bytes) -> str:
    return _data(png(width, height, rgb_of(fourcc, width, height, frame)))


def _data(file: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(file).decode("ascii")


def _lines(value: Any) -> str:
    if isinstance(value, list):
        value = "\n".join(str(line) for line in value)
    return clean(value)[:LOG_CHARACTERS] if isinstance(value, str) else ""


def _without_blobs(value: Any) -> Any:
    if isinstance(value, dict):
        return {
            name: f"{len(part) * 3 // 4} bytes"
            if name in _BLOBS and isinstance(part, str)
            else _without_blobs(part)
            for name, part in value.items()
        }
    return [_without_blobs(part) for part in value] if isinstance(value, list) else value
