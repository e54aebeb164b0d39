"""A driver that is wrong about its device's address lines: the IOMMU contains it, without one it corrupts."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from lab.base.words import IommuMode
from lab.runs.devices import Decoder
from lab.sharing import ALLOCATORS

OWN = ALLOCATORS["decoder-mmap"]
CLAIMED = 32


@contextmanager
def believing_in(bits: int, decoder: Decoder) -> Iterator[None]:
    """Let the decoder's driver believe in ``bits`` address bits; afterwards it knows the truth again."""
    agent, module = decoder.board.agent, decoder.entry.module
    truth = list(decoder.board.target.modules[module]["address_bits"])

    def tell(values: list[int]) -> None:
        parameter = {"module": module, "name": "address_bits", "value": values}
        agent.request("set_parameter", parameter, timeout=10)
        agent.call("rebind", device=decoder.device, driver=decoder.entry.driver)

    tell([bits] * len(truth))
    yield
    tell(truth)


@pytest.mark.every_decoder
def test_wrong_mask_is_contained_and_recovered_from(decoder, stream, iommu_mode):
    """ "Frame done" says nothing: the pixels, and the IOMMU's fault events, tell that they never arrived.

    Only for a decoder that has fewer address lines than its driver may claim, and whose wrong writes go
    where nothing is: the virtual board's CMA area, cut to 28 bits, has neither RAM nor registers.
    """
    if decoder.entry.address_bits >= CLAIMED:
        pytest.skip(f"{decoder.name} really has {decoder.entry.address_bits} address bits")
    with believing_in(CLAIMED, decoder):
        wrong = decoder.decode_into(OWN, stream, dma_mask=CLAIMED)
    assert wrong.as_expected, wrong.explain()
    if iommu_mode in (IommuMode.TRANSLATED, IommuMode.LAZY):
        assert wrong.raw["faults"], "the IOMMU reported nothing"
    after = decoder.decode_into(OWN, stream, note=False)
    assert after.as_expected, f"not recovered: {after.explain()}"
    assert not after.raw["faults"], after.raw["fault_lines"]
