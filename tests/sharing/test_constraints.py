"""Addresses, masks and memory, at their edges."""

from __future__ import annotations

import pytest

from lab.sharing import BoardFacts, DecoderFacts, Reach
from lab.sharing.constraints import address, top
from tests.sharing.scenes import GIB

MIB = 1 << 20


def test_the_highest_address_of_some_bits():
    assert (top(1), top(28), top(32)) == (1, 0x0FFF_FFFF, 0xFFFF_FFFF)


@pytest.mark.parametrize("bits", [0, 65, -1])
@pytest.mark.parametrize("field", ["dma_mask_bits", "device_bits"])
def test_a_mask_that_no_device_has_is_refused(field, bits):
    with pytest.raises(ValueError, match=f"{bits} address bits"):
        DecoderFacts(**{"name": "odd", "dma_mask_bits": 32, field: bits})
    assert DecoderFacts("least", 1, device_bits=1).dma_mask_bits == 1
    assert DecoderFacts("most", 64, device_bits=64).device_bits == 64


@pytest.mark.parametrize(("lines", "wrong"), [(None, False), (28, True), (32, False), (40, False)])
def test_a_driver_is_wrong_that_promises_more_lines_than_there_are(lines, wrong):
    assert DecoderFacts("d", 32, device_bits=lines).overrated == wrong


@pytest.mark.parametrize("ram", [(), ((GIB, GIB),), ((GIB, 2 * GIB), (4 * GIB, 3 * GIB)), ((-1, GIB),)])
def test_memory_that_is_none_is_refused(ram):
    with pytest.raises(ValueError, match="no RAM"):
        BoardFacts(ram=ram)


def test_memory_in_several_ranges():
    board = BoardFacts(ram=((4 * GIB, 5 * GIB), (GIB, 2 * GIB)))
    assert (board.start, board.end) == (GIB, 5 * GIB)


@pytest.mark.parametrize(
    ("end", "zone", "bits", "takes"),
    [
        (4 * GIB, 32, 32, True),
        (64 * GIB, 32, 32, True),  # 32 bits always pass
        (4 * GIB, 32, 31, False),
        (2 * GIB, 32, 31, True),  # they reach all of it
        (2 * GIB + 4096, 32, 31, False),
        (64 * GIB, 30, 30, True),  # the zone for small masks is theirs
        (64 * GIB, 30, 29, False),
    ],
)
def test_the_masks_that_a_driver_may_set(end, zone, bits, takes):
    board = BoardFacts(ram=((256 * MIB, end),), zone_dma_bits=zone)
    assert board.takes_mask(bits) == takes


@pytest.mark.parametrize(
    ("lowest", "highest", "reach"),
    [
        (0, 4 * GIB - 4096, Reach.BELOW),
        (0, 4 * GIB, Reach.ACROSS),
        (4 * GIB - 4096, 4 * GIB, Reach.ACROSS),
        (4 * GIB, 5 * GIB, Reach.ABOVE),
    ],
)
def test_where_pages_lie_for_a_mask(lowest, highest, reach):
    assert BoardFacts(ram=((0, 8 * GIB),)).reach(lowest, highest, 32) is reach


def test_round_addresses_are_written_round():
    assert (address(4 * GIB), address(4 * GIB + 4096)) == ("4 GiB", "0x100001000")
