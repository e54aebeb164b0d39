"""The pages' common ground: templates, stylesheet, script, and how values are written in them.

The report and `lab serve` draw a run, a matrix and a cell by the same templates. What results hold
is shown as text and nothing else: every template escapes by itself.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from datetime import datetime
from functools import lru_cache

from jinja2 import BaseLoader, ChoiceLoader, Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from lab.results.evidence import clean
from lab.results.look import STATUSES, VERDICTS, Look, errno_name
from lab.results.matrix import Entry, headline, label_of
from lab.results.model import Result

LOOKS: tuple[Look, ...] = (*VERDICTS.values(), *STATUSES.values())


def environment(*more: BaseLoader) -> Environment:
    """Jinja's environment for pages; ``more``: loaders of further templates, asked first."""
    made = Environment(
        loader=ChoiceLoader([*more, PackageLoader("lab.results")]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {
        "errno": errno_name,
        "clock": clock,
        "span": span,
        "headline": headline,
        "label": label_of,
        "words": words,
    }
    made.globals |= {"looks": LOOKS}
    return made


@lru_cache(maxsize=1)
def default_environment() -> Environment:
    """The environment of the report, made once: templates are compiled when they are first used."""
    return environment()


@lru_cache(maxsize=1)
def script() -> Markup:
    """The pages' script, as it stands in a ``script`` element."""
    loader = PackageLoader("lab.results")
    return Markup(loader.get_source(Environment(autoescape=True), "page.js")[0])  # our own file


def content_hash(text: str) -> str:
    """What a content security policy calls an inline script or style: ``sha256-...``."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode("ascii")


def clock(time: datetime) -> str:
    """``2026-11-22 21:04:33 UTC``."""
    return time.strftime("%Y-%m-%d %H:%M:%S UTC")


def span(seconds: float) -> str:
    """A duration as short as it can be said: ``0.3 s``, ``92 s``, ``1 h 20 min``."""
    if seconds < 100:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s" if rest else f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min"


def words(shown: Result | Entry) -> str:
    """What the search field of a page finds a cell by, in small letters."""
    cells: Sequence[Result] = shown.cells if isinstance(shown, Entry) else (shown,)
    parts = {
        part: None
        for cell in cells
        for part in (cell.path, cell.test, cell.target, cell.soc, cell.place, cell.decoder, cell.allocator)
    }
    said = {cell.reason: None for cell in cells} | {errno_name(cell.errno): None for cell in cells}
    return clean(" ".join(filter(None, (*parts, *said))))[:600].lower()
