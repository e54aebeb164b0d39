"""Memory that the guest allocated: may the host's decoder write it, and what has to be contiguous?"""

from __future__ import annotations

import pytest

from lab.base.words import Verdict
from lab.runs.crossings.guest_memory import guest_blob, resource_uuid, untraced, wrong_buffer


@pytest.mark.path("guest-blob")
def test_scattered_guest_blob(crossing, stream):
    """Scattered pages of the guest: only an IOMMU makes one range of them."""
    share = crossing.prove("guest-blob", lambda held: guest_blob(held, stream, "guest-blob"))
    assert share.as_expected, share.explain()


@pytest.mark.path("guest-blob-contig")
def test_contiguous_guest_blob(crossing, stream):
    """Contiguous in the guest and on the host: the decoder takes it with or without an IOMMU."""
    share = crossing.prove("guest-blob-contig", lambda held: guest_blob(held, stream, "guest-blob-contig"))
    assert share.as_expected, share.explain()


@pytest.mark.path("wrong-buffer")
def test_control_wrong_buffer_is_noticed(crossing, stream):
    """Given another dma-buf than the guest's resource, every call succeeds and the pixels are wrong."""
    share = crossing.prove("wrong-buffer", lambda held: wrong_buffer(held, stream))
    assert share.as_expected, share.explain()
    assert share.verdict is Verdict.CORRUPT


@pytest.mark.path("untraced")
def test_control_without_the_trace_nothing_is_proved(crossing, stream):
    """Right pixels alone: nobody listened to the VMM, so nobody may say zero-copy."""
    share = crossing.prove("untraced", lambda held: untraced(held, stream))
    assert share.as_expected, share.explain()


@pytest.mark.path("resource-uuid")
def test_resource_by_uuid(crossing, stream):
    """The proposal of 2019: a resource that other virtio devices find by its UUID."""
    share = crossing.prove("resource-uuid", lambda held: resource_uuid(held, stream))
    assert share.as_expected, share.explain()
