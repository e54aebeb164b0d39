"""Filters and the tags that exist, as a person reads them."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from lab.places.model import OWN_TAGS, Place


def words(filters: Mapping[str, str]) -> str:
    """Filters as a user writes them."""
    return " ".join(f"{key}={value}" for key, value in filters.items()) or "any tags"


def vocabulary(places: Collection[Place], filters: Mapping[str, str]) -> str:
    """The tags that exist: for each key that was asked for, its values; the keys, for one that nobody has."""
    if not places:
        return "the lab has no places yet (lab sync LAB.yaml, or labgrid-client create)"
    known: dict[str, set[str]] = {"name": {one.name for one in places}}
    for place in places:
        for key, value in place.tags.items():
            if key not in OWN_TAGS:
                known.setdefault(key, set()).add(value)
    said = [f"{key} is one of {', '.join(sorted(known[key]))}" for key in filters if key in known]
    if any(key not in known for key in filters):
        said.append(f"there are tags {', '.join(sorted(known))}")
    return "; ".join(said)
