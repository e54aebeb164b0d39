"""Memory that the guest made without its virtio-gpu, and gave to it by import."""

from __future__ import annotations

import pytest

from lab.runs.crossings.imported import guest_import


@pytest.mark.path("guest-import")
def test_guest_imports_contiguous_memory(crossing, stream):
    """A udmabuf on a huge page of the guest, on huge pages of the host: one run for the decoder."""
    share = crossing.prove("guest-import", lambda held: guest_import(held, stream))
    assert share.as_expected, share.explain()
