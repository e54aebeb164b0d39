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
    module = decoder.entry.module
    truth = list(decoder.board.target.modules[module]["address_bits"])
    try:
        probe_with([bits] * len(truth), decoder)
        yield
    finally:
        probe_with(truth, decoder)


def probe_with(address_bits: list[int], decoder: Decoder) -> None:
    """Let the driver probe again, behind a fresh IOMMU domain.

    The old domain would go on handing out the low addresses that it has cached (drivers/iommu/iova.c,
    cached32_node and the rcaches), and then the wrong mask shows only by chance.
    """
    agent, device = decoder.board.agent, decoder.device
    agent.call("unbind", device=device)
    kind = agent.call("iommu", device=device)["type"]
    if kind not in (None, "identity"):
        agent.call("set_type", device=device, kind="identity")
        agent.call("set_type", device=device, kind=kind)
    parameter = {"module": decoder.entry.module, "name": "address_bits", "value": address_bits}
    agent.request("set_parameter", parameter, timeout=10)
    agent.call("bind", device=device, driver=decoder.entry.driver)


@pytest.mark.every_decoder(address_bits_below=CLAIMED)
def test_wrong_mask_is_contained_and_recovered_from(decoder, stream, iommu_mode):
    """ "Frame done" says nothing: the pixels, and the IOMMU's fault events, tell that they never arrived.

    Only for a decoder that has fewer address lines than its driver may claim, and whose wrong writes go
    where nothing is: the virtual board's CMA area, cut to 28 bits, has neither RAM nor registers.
    """
    with believing_in(CLAIMED, decoder):
        wrong = decoder.decode_into(OWN, stream, dma_mask=CLAIMED)
    assert wrong.as_expected, wrong.explain()
    if iommu_mode in (IommuMode.TRANSLATED, IommuMode.LAZY):
        assert wrong.raw["faults"], "the IOMMU reported nothing"
    after = decoder.decode_into(OWN, stream, note=False)
    assert after.as_expected, f"not recovered: {after.explain()}"
    assert not after.raw["faults"], after.raw["fault_lines"]
