"""The pure parts of the GPU side: picture layouts, pixel orders, modes, the trace of commands."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.agent import gles, gputrace, kms
from lab.media import sample

# Two commands of a guest with 2D virtio-gpu, Linux 6.12
TRACE = """\
# tracer: nop
#
 python3-412 [000] .....    37.125873: virtio_gpu_cmd_queue: vdev=0 vq=0 name=control type=0x10c \
flags=0x0 fence_id=0 ctx_id=0 num_free=61 seqno=1656
 kworker/0:1-11 [000] .....    37.128873: virtio_gpu_cmd_response: vdev=0 vq=0 name=control \
type=0x1205 flags=0x1 fence_id=7 ctx_id=3 num_free=64 seqno=1656
 kworker/0:1-11 [000] .....    37.129873: virtio_gpu_cmd_queue: vdev=0 vq=0 name=control type=0x4242 \
flags=0x1 fence_id=7 ctx_id=3 num_free=64
 kworker/0:1-11 [000] .....    37.129874: dma_map_sg: 0000:00:01.0 dir=BIDIRECTIONAL
"""


def test_planes_of_nv12_are_where_the_frame_has_them():
    frame = sample(64, 48).frames[0]
    first, second = gles.layout("NV12", 64, 48)
    assert (first["offset"], first["stride"], first["width"], first["height"]) == (0, 64, 64, 48)
    assert (second["offset"], second["stride"], second["width"], second["height"]) == (64 * 48, 64, 32, 24)
    assert second["offset"] + second["stride"] * second["height"] == len(frame.nv12())


def test_planes_of_yu12_with_padding():
    planes = gles.layout("YU12", 60, 30, stride=64, rows=32)
    assert [plane["offset"] for plane in planes] == [0, 64 * 32, 64 * 32 + 32 * 16]
    assert [plane["stride"] for plane in planes] == [64, 32, 32]
    assert [(plane["width"], plane["height"]) for plane in planes] == [(60, 30), (30, 15), (30, 15)]


def test_planes_that_lie_in_a_buffer_each_begin_there():
    planes = gles.layout("YM12", 60, 30, stride=64, rows=32, strides=[64, 48, 48])
    assert [(plane["buffer"], plane["offset"], plane["stride"]) for plane in planes] == [
        (0, 0, 64),
        (1, 0, 48),
        (2, 0, 48),
    ]
    whole = gles.layout("NV12", 60, 30, stride=64, rows=32)
    assert gles.layout("NM12", 60, 30, stride=64, rows=32) == [
        whole[0],
        {**whole[1], "offset": 0, "buffer": 1},
    ]


def test_unknown_format_names_the_known_ones():
    with pytest.raises(ValueError, match="NV12"):
        gles.layout("P010", 64, 64)


# As EGL_LINUX_DMA_BUF_EXT defines the formats: DRM's names are little endian words
@pytest.mark.parametrize(
    ("fourcc", "memory"),
    [("AB24", b"RGBA"), ("XR24", b"BGRA"), ("GR88", b"RG"), ("R8  ", b"R")],
)
def test_sampled_channels_become_memory_again(fourcc, memory):
    assert gles.unpack(fourcc, b"RGBARGBA") == memory * 2


@given(st.integers(32, 8192), st.integers(32, 8192))
def test_a_mode_of_any_size_is_one_that_drm_takes(width, height):
    """As drm_mode_validate_basic and drm_mode_convert_umode of drivers/gpu/drm/drm_modes.c demand it."""
    mode = kms.mode_of(width, height)
    assert (mode.hdisplay, mode.vdisplay) == (width, height)
    assert mode.hdisplay < mode.hsync_start < mode.hsync_end < mode.htotal
    assert mode.vdisplay < mode.vsync_start < mode.vsync_end < mode.vtotal
    assert 0 < mode.clock < 2**31 // 1000 * 1000


def test_commands_and_responses_of_the_driver():
    queued, answered, unknown = gputrace.parse(TRACE)
    assert queued == {
        "event": "queue",
        "type": 0x10C,
        "name": "resource_create_blob",
        "fence": 0,
        "ctx": 0,
        "seqno": 1656,
    }
    assert (answered["event"], answered["name"], answered["seqno"]) == (
        "response",
        "err_invalid_parameter",
        1656,
    )
    assert (answered["fence"], answered["ctx"]) == (7, 3)
    assert (unknown["name"], unknown["seqno"]) == ("0x4242", None)
