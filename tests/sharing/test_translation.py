"""Whether the trace shows an IOMMU between the importer and its pages."""

from __future__ import annotations

import pytest

from lab.sharing import translated
from tests.sharing import scenes
from tests.sharing.scenes import GIB

PAGES = scenes.scattered()
RANGE = scenes.mapped(PAGES, iova=0xFFFF0000)
MAPS = [[0xFFFF0000 + 4096 * at, page, 4096] for at, page in enumerate(PAGES)]


def raw(**changes):
    return scenes.shared(maps=[RANGE], iommu_maps=MAPS) | changes


def test_addresses_that_the_iommu_mapped_are_translated():
    assert translated(raw()) is True
    # One run of pages is one mapping, and a buffer may begin within it.
    run = scenes.run_of_pages()
    event = scenes.mapped(run[2:], iova=0xFFF02000)
    assert translated(raw(maps=[event], iommu_maps=[[0xFFF00000, run[0], 40960]])) is True


def test_of_several_ranges_the_first_tells_it():
    event = RANGE | {"dma": [[0xFFFF0000, 8192], [0xFFF00000, 32768]]}
    assert translated(raw(maps=[event], iommu_maps=MAPS[:1])) is True
    assert translated(raw(maps=[event], iommu_maps=[[0xFFF00000, PAGES[0], 4096]])) is False


@pytest.mark.parametrize(
    "maps",
    [
        [],
        [[0xFFFF0000, PAGES[0] + 4096, 4096]],
        [[0xFFFF1000, PAGES[0], 4096]],
        [[0xFFFEF000, PAGES[0] - 4096, 4096]],
    ],
    ids=["none", "other page", "behind it", "before it"],
)
def test_addresses_that_no_iommu_mapped_are_not(maps):
    assert translated(raw(iommu_maps=maps)) is False


def test_an_offset_of_the_bus_is_no_translation():
    event = scenes.mapped(PAGES) | {"dma": [[page - GIB, 4096] for page in PAGES]}
    assert translated(raw(maps=[event], iommu_maps=[])) is False


OWN = {"device": scenes.DEVICE, "dma": 0xFFFF0000, "size": 8192, "phys": None}


def own(*allocs, **changes):
    return scenes.own(allocs=list(allocs), iommu_maps=MAPS) | changes


def test_an_allocation_at_an_address_that_no_iommu_mapped_is_not_translated():
    outside = OWN | {"dma": PAGES[0]}
    assert translated(own(outside)) is False
    assert translated(own(OWN, outside)) is False
    assert translated(own(OWN, outside | {"device": "0000:00:02.0"})) is None
    assert translated(own(OWN)) is None, "another device may have that address, too"
    assert translated(own(outside, missing=["trace: 3 events lost"])) is None
    # The stream's buffers may be of memory that the driver maps otherwise: what was shared, counts.
    assert translated(raw(allocs=[outside])) is True


@pytest.mark.parametrize(
    "changes",
    [
        {"maps": []},
        {"maps": None},
        {"maps": [RANGE | {"device": "0000:00:02.0"}]},
        {"maps": [RANGE | {"phys": []}]},
        {"maps": [RANGE | {"dma": []}]},
        {"maps": [RANGE, scenes.mapped(scenes.run_of_pages(3 * GIB))]},
        {"bounced": 1},
        {"bounced": None},
        {"missing": ["trace:iommu:map"], "iommu_maps": []},
        {"missing": ["trace: 3 events lost"], "iommu_maps": []},
    ],
    ids=" ".join,
)
def test_what_the_trace_does_not_tell(changes):
    assert translated(raw(**changes)) is None
