"""Memory that the host allocated through virtio-gpu: decoder output and texture in virgl at once?"""

from __future__ import annotations

import pytest

from lab.base.words import Verdict
from lab.runs.crossings.virgl import guest_copied, host3d_blob, virgl_texture


@pytest.mark.path("virgl-texture")
def test_decoder_writes_a_virgl_texture(crossing, stream):
    """What the guest samples through virgl is what the host's decoder wrote, in one memory."""
    share = crossing.prove("virgl-texture", lambda held: virgl_texture(held, stream))
    assert share.as_expected, share.explain()


@pytest.mark.path("guest-copied")
def test_control_a_copying_vmm_is_noticed(crossing, stream):
    """Without a blob the VMM transfers each frame: right pixels, and no zero-copy."""
    share = crossing.prove("guest-copied", lambda held: guest_copied(held, stream))
    assert share.as_expected, share.explain()
    assert share.verdict is Verdict.COPIED


@pytest.mark.path("host3d-blob")
def test_host3d_blob(crossing, stream):
    """A blob of the host's making, mapped into the guest."""
    share = crossing.prove("host3d-blob", lambda held: host3d_blob(held, stream))
    assert share.as_expected, share.explain()
