"""The GPU as a consumer, in the board's own kernel."""

from __future__ import annotations

import pytest

from lab.runs.crossings.same_kernel import gpu_import


@pytest.mark.path("gpu-import")
def test_gpu_samples_what_the_decoder_wrote(crossing, stream):
    """The decoder's buffer is a texture: every byte that the GPU samples is the decoder's."""
    share = crossing.prove("gpu-import", lambda held: gpu_import(held, stream))
    assert share.as_expected, share.explain()
