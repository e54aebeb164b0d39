"""Memory that the host allocated for its decoder, seen by the guest in a BAR: works with the IOMMU off."""

from __future__ import annotations

import pytest

from lab.runs.crossings.host_blob import host_blob


@pytest.mark.path("host-blob")
def test_host_allocates_for_the_decoder(crossing, stream):
    """The host knows what its decoder demands; the guest makes a virtio-gpu blob of what it is shown."""
    share = crossing.prove("host-blob", lambda held: host_blob(held, stream))
    assert share.as_expected, share.explain()
