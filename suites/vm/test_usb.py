"""An importer that is no virtio device: the emulated USB host controller."""

from __future__ import annotations

import pytest

from lab.runs.crossings.same_kernel import usb_dmabuf, usb_pages


@pytest.mark.path("usb-pages")
def test_usb_controller_reads_the_pages(crossing, stream):
    """O_DIRECT on the memfd behind a udmabuf: the controller reads the very pages that the decoder wrote."""
    share = crossing.prove("usb-pages", lambda held: usb_pages(held, stream))
    assert share.as_expected, share.explain()


@pytest.mark.path("usb-dmabuf")
def test_usb_controller_cannot_take_the_dmabuf(crossing, stream):
    """O_DIRECT on a mapping of the dma-buf itself: the kernel refuses."""
    share = crossing.prove("usb-dmabuf", lambda held: usb_dmabuf(held, stream))
    assert share.as_expected, share.explain()
