"""The comparison that an address asks for, and what there is to choose from."""

from __future__ import annotations

from dataclasses import dataclass

from starlette.datastructures import QueryParams

from lab.base.errors import ConfigError
from lab.base.words import IommuMode
from lab.results.compare.columns import ALL, DIMENSIONS, WIDEST
from lab.results.compare.gather import Request, comparison
from lab.results.compare.page import ComparisonPage
from lab.results.store import Store

MODES = (WIDEST, ALL, *(str(mode) for mode in IommuMode))
LONGEST = 400  # characters of names
MOST = 24  # columns: nobody reads more side by side


@dataclass(frozen=True, slots=True)
class Asked:
    """What the form of the page holds. ``problem``: why there is no comparison to show."""

    names: str
    by: str
    iommu: str
    page: ComparisonPage | None = None
    problem: str = ""
    known: tuple[str, ...] = ()


def compared(store: Store, asked: QueryParams) -> Asked:
    """The comparison of ``names`` (words, as on the command line), ``by`` and ``iommu``."""
    names = " ".join(asked.getlist("names"))[:LONGEST]
    by, iommu = asked.get("by", ""), asked.get("iommu", WIDEST)
    known = tuple(value for name in ("target", "soc", "kernel") for value in store.values(name))[:60]
    try:
        if by and by not in DIMENSIONS:
            raise ConfigError(f"'{by}' is not a field of results")
        if iommu not in MODES:
            raise ConfigError(f"'{iommu}' is not an IOMMU mode")
        if len(names.split()) > MOST:
            raise ConfigError(f"more than {MOST} columns")
        found = comparison(store, Request(names=tuple(names.split()), by=by, iommu=iommu))
    except ConfigError as error:
        return Asked(names, by, iommu, problem=str(error), known=known)
    return Asked(names, by, iommu, ComparisonPage(found), known=known)
