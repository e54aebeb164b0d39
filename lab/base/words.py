"""The words of the project that more than one room uses (DESIGN.md, "Words")."""

from __future__ import annotations

from enum import StrEnum


class IommuMode(StrEnum):
    """How the decoder reaches memory in one boot."""

    TRANSLATED = "translated"  # every map and unmap at once in the IOMMU: group type DMA
    LAZY = "lazy"  # invalidations are batched: group type DMA-FQ
    PASSTHROUGH = "passthrough"  # the IOMMU is there and does not translate: group type identity
    OFF = "off"  # no IOMMU, or none that the decoder is behind: no group


class Verdict(StrEnum):
    """What one share turned out to be, derived from its evidence alone."""

    ZERO_COPY = "zero-copy"
    COPIED = "copied"
    REFUSED = "refused"
    CORRUPT = "corrupt"
    FAULTED = "faulted"
    UNSUPPORTED = "unsupported"
    INCONCLUSIVE = "inconclusive"


class Status(StrEnum):
    """Status of a test in the result store: KCIDB's six."""

    PASS = "PASS"
    FAIL = "FAIL"
    SKIP = "SKIP"
    ERROR = "ERROR"  # the test broke
    MISS = "MISS"  # the lab broke
    DONE = "DONE"  # measured, nothing to judge
