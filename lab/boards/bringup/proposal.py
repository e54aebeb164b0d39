"""What a board said of itself, as a change of its target file."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Any

import yaml

from lab.base import dirs
from lab.boards.fourcc import CODES
from lab.boards.target import Target

HALF_GIG = 512 << 20
ROOM = 3
"""How many times as long as this boot took the next one may take."""

FULL_HD = (1920, 1080)
"""The size of frame that a target's ``size.example`` is of."""

LEAST = 30
"""Seconds that every time-out has."""


@dataclass(frozen=True)
class Change:
    """A fact of the target file that the board says otherwise, or that was unverified until now.

    ``value``: what the file is to have; None where the fact stays and only is no longer unverified.
    """

    path: str
    value: Any = None


def changes(target: Target, facts: Mapping[str, Any]) -> Iterator[Change]:
    """What the board's ``facts`` (`Bench.facts`) change about ``target``."""
    own = facts.get("compatible")
    if own and target.compatible and target.compatible not in own:
        yield Change("compatible", own[-1])
    if "board" in facts:
        memory = f"{-(-facts['board']['mem_total'] // HALF_GIG) * 512}M"
        yield Change("memory", None if _bytes(memory) == _bytes(target.memory) else _short(memory))
    if "speed" in facts and target.serial_speed not in (None, facts["speed"]):
        yield Change("hookup.resources.USBSerialPort.speed", facts["speed"])
    if "kvm" in facts and target.kvm is not None:
        yield Change("kvm.usable", None if facts["kvm"] == target.kvm.usable else facts["kvm"])
    if "times" in facts and "boot.timeouts" in target.unverified:
        yield Change("boot.timeouts", _timeouts(target, facts["times"]))
    for found in facts.get("decoders", ()):
        for decoder in target.at(facts["hello"]["kernel"]).decoders:
            if decoder.device != found["device"]:
                continue
            for key, read in (("coded", found["outputs"]), ("raw", found["captures"])):
                said = getattr(decoder, key)
                general = getattr(target.decoder(decoder.name), key) == said
                if general and {CODES.get(name, name) for name in said} != set(read):
                    yield Change(f"decoders.{decoder.name}.{key}", [_name(code, said) for code in read])
            yield from _shape(target, decoder.name, found.get("formats") or {"coded": {}})


def _shape(target: Target, name: str, formats: Mapping[str, Any]) -> Iterator[Change]:
    """What the decoder's formats say of facts that the file has: its API, memory planes, bytes of a frame."""
    decoder, path = target.decoder(name), f"decoders.{name}"
    frames = [
        raw
        for coded in formats["coded"].values()
        for fourcc, raw in coded["raw"].items()
        if "errno" not in raw and fourcc in {CODES.get(known) for known in decoder.raw}
    ]
    if not frames:
        return
    found: dict[str, Any] = {
        "api": formats["api"],
        "planes": max(len(frame["planes"]) for frame in frames),
    }
    largest = [frame for frame in frames if (frame["width"], frame["height"]) >= FULL_HD]
    if decoder.size is not None and decoder.size.example and largest:
        found["size.example"] = [plane["sizeimage"] for plane in largest[0]["planes"]]
    known: dict[str, Any] = {"api": decoder.api, "planes": decoder.planes}
    known["size.example"] = list(decoder.size.example) if decoder.size else None
    stated = decoder.model_fields_set | {"size.example"}  # only what the file says can be corrected in it
    for key, value in found.items():
        if key in stated:
            yield Change(f"{path}.{key}", None if value == known[key] else value)


def _name(code: str, known: Sequence[str]) -> str:
    """The name of a format: as the file has it where it does."""
    names = [name for name in (*known, *CODES) if CODES.get(name) == code]
    return names[0] if names else code


def proposed(target: Target, facts: Mapping[str, Any]) -> str:
    """The text of the target file with what the board said."""
    lines = target.path.read_text(encoding="utf-8").splitlines(keepends=True)
    gone: set[int] = set()
    found = list(changes(target, facts))
    for change in found:
        if change.value is not None:
            number = target.line(change.path)
            assert number is not None
            lines[number - 1], below = _replaced(lines, number - 1, change)
            gone |= below
    shown = {path for path in target.unverified if any(_covers(path, one.path) for one in found)}
    if shown and shown == set(target.unverified):  # a key without entries is no mapping
        gone |= _block(lines, target.line("unverified"), "\n")
    for path in shown:
        gone |= _block(lines, target.line(f"unverified.{path}"))
    return "".join(line for number, line in enumerate(lines) if number not in gone)


def _covers(path: str, changed: str) -> bool:
    return changed == path or changed.startswith(f"{path}.")


def _replaced(lines: Sequence[str], at: int, change: Change) -> tuple[str, set[int]]:
    """The line ``at`` (from 0) with the new value of its key, and the lines below that had the old one."""
    line, key = lines[at], re.escape(change.path.rpartition(".")[2])
    if found := re.search(rf"\b{key}:[ \t]*(\[[^]]*\]|\{{[^}}]*\}}|[^\s,#}}[{{]+)", line):
        return line[: found.start(1)] + _flow(change.value) + line[found.end(1) :], set()
    depth = _depth(line)
    same = tuple(f"{' ' * depth}{sign}" for sign in ("- ", "]", "}"))
    below = takewhile(
        lambda number: _depth(lines[number]) > depth or lines[number].startswith(same),
        range(at + 1, len(lines)),
    )
    return f"{line.partition(':')[0]}: {_flow(change.value)}\n", set(below)


def _depth(line: str) -> int:
    """Of a line's key; one in a list stands behind its dash."""
    return len(line) - len(line.lstrip(" -"))


def diff(target: Target, text: str) -> list[str]:
    """The change from the target file to ``text``, as a unified diff; empty where there is none."""
    before = target.path.read_text(encoding="utf-8")
    path = target.path
    shown = path.relative_to(dirs.root()) if path.is_relative_to(dirs.root()) else path
    return list(
        difflib.unified_diff(
            before.splitlines(),
            text.splitlines(),
            str(shown),
            f"{path.name} as the board says",
            lineterm="",
        )
    )


def _block(lines: Sequence[str], line: int | None, *more: str) -> set[int]:
    """The lines (from 0) of the key in ``line`` (from 1) and of all below it; lines ``more``, too."""
    assert line is not None
    depth = _depth(lines[line - 1])
    below = takewhile(lambda at: lines[at] in more or _depth(lines[at]) > depth, range(line, len(lines)))
    return {line - 1, *below}


def _timeouts(target: Target, times: Mapping[str, float]) -> dict[str, int]:
    kept = target.boot.timeouts
    return {
        "load": max(LEAST, round(ROOM * (times["kernel"] - times["uboot"]))),
        "linux": max(LEAST, round(ROOM * (times["linux"] - times["kernel"]))),
        "root": round(kept.root),
        "silence": round(kept.silence),
    }


def _bytes(size: str) -> int:
    return int(size[:-1]) << {"M": 20, "G": 30}[size[-1]]


def _short(size: str) -> str:
    whole, rest = divmod(_bytes(size), 1 << 30)
    return size if rest else f"{whole}G"


def _flow(value: Any) -> str:
    text: str = yaml.safe_dump(value, default_flow_style=True, sort_keys=False, width=1000)
    return text.removesuffix("\n...\n").rstrip("\n")
