"""The truth table: into whose memory can the decoder write, and what does the IOMMU change?"""

from __future__ import annotations

from operator import attrgetter

import pytest

from lab.sharing import ALLOCATORS


@pytest.mark.every_decoder
@pytest.mark.parametrize("allocator", ALLOCATORS.values(), ids=attrgetter("name"))
def test_decoder_writes_into(decoder, allocator, stream):
    """The CAPTURE queue takes a buffer of the allocator, or refuses it as the constraints demand."""
    share = decoder.decode_into(allocator, stream)
    assert share.as_expected, share.explain()
