"""The decoder itself crosses the boundary."""

from __future__ import annotations

import pytest

from lab.runs.crossings.given_decoder import vfio_decoder


@pytest.mark.path("vfio-decoder")
def test_decoder_given_to_the_guest(crossing, stream):
    """Behind an IOMMU the guest may have the decoder, and its virtio-gpu shows what that wrote."""
    share = crossing.prove("vfio-decoder", lambda held: vfio_decoder(held, stream))
    assert share.as_expected, share.explain()
