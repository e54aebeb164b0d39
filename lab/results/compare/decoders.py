"""Decoders of different SoCs side by side: their names differ, and so do the names of their tests."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence


def slots(columns: Sequence[Sequence[str]]) -> list[dict[str, str]]:
    """For each column a dictionary from its decoders to the rows that they share.

    Decoders of one name share a row; what is left over is matched in its order, and the row has all names:
    ``rkvdec, g1``.
    """
    count = Counter(name for column in columns for name in dict.fromkeys(column))
    shared = {name for name, times in count.items() if times > 1}
    left = [[name for name in dict.fromkeys(column) if name not in shared] for column in columns]
    rows = [
        ", ".join(dict.fromkeys(names[row] for names in left if row < len(names)))
        for row in range(max(map(len, left), default=0))
    ]
    return [
        {name: name if name in shared else rows[left[number].index(name)] for name in column}
        for number, column in enumerate(columns)
    ]


def plain_test(test: str, decoder: str) -> str:
    """A test's name without the decoder's: the same test of another decoder has the same."""
    name, bracket, rest = test.partition("[")
    if not bracket or not decoder:
        return test
    identity = rest.removesuffix("]")
    if identity == decoder:
        return name
    if identity.startswith(f"{decoder}-"):
        return f"{name}[{identity[len(decoder) + 1 :]}]"
    if identity.endswith(f"-{decoder}"):
        return f"{name}[{identity[: -len(decoder) - 1]}]"
    return test
