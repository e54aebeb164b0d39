"""Hypothesis strategies for results, with hostile text in every place that takes text."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from hypothesis import strategies as st

from lab.base.words import IommuMode, Status, Verdict
from lab.results import Cell, Result

hostile = st.one_of(
    st.text(max_size=20),
    st.sampled_from(
        [
            "</script><script>alert(1)</script>",
            '"><img src=x onerror=alert(1)>',
            "]]>",
            "\x00\x1b[31mred\x1b[0m\x08",
            "\udc80\ufffe",
            "{{ 7 * 7 }}{% raw %}",
            "&lt;&#x41;",
        ]
    ),
    st.text(st.characters(min_codepoint=0, max_codepoint=0x20FF), max_size=20),
)
plain_json: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | hostile | st.binary(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(hostile, inner, max_size=3),
    max_leaves=8,
)
times = st.datetimes(datetime(1990, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))
errnos = st.none() | st.integers(0, 4095)


@st.composite
def results(draw: st.DrawFn, texts: st.SearchStrategy[str] = hostile, run: str | None = None) -> Result:
    """Any result that may be made."""
    names = ("test", "target", "place", "soc", "suite", "allocator", "importer", "path", "decoder")
    more = ("expected_reason", "reason", "log", "repeat", "image", "kernel")
    values: dict[str, Any] = {name: draw(texts) for name in (*names, *more)}
    return Result(
        run=draw(texts) if run is None else run,
        iommu_asked=draw(st.sampled_from(IommuMode)),
        iommu_verified=draw(st.none() | st.sampled_from(IommuMode)),
        status=draw(st.sampled_from(Status)),
        verdict=draw(st.none() | st.sampled_from(Verdict)),
        expected=draw(st.none() | st.sampled_from(Verdict)),
        attempt=draw(st.integers(1, 3)),
        errno=draw(errnos),
        expected_errno=draw(errnos),
        reasons=tuple(draw(st.lists(texts, max_size=3))),
        started=draw(times),
        duration=draw(st.floats(0, 1e6)),
        evidence=draw(st.dictionaries(texts, plain_json, max_size=3)),
        metrics=draw(st.dictionaries(texts, st.floats(), max_size=3)),
        environment=draw(st.dictionaries(texts, texts, max_size=3)),
        **values,
    )


@st.composite
def cells(draw: st.DrawFn) -> Cell:
    """Any planned cell."""
    names = ("test", "target", "suite", "soc", "allocator", "importer", "path", "decoder")
    values: dict[str, Any] = {name: draw(hostile) for name in names}
    return Cell(iommu=draw(st.sampled_from(IommuMode)), **values)
