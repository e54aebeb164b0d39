"""The structs and ioctl numbers against what a C compiler makes of the kernel's headers (64-bit)."""

from __future__ import annotations

import ctypes

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.agent import allocators, dmabuf, drm, ioctl, kms, memfd, videodev2, virtgpu

# Printed by a C program that includes <linux/videodev2.h>, <linux/dma-buf.h>, <linux/dma-heap.h>,
# <linux/udmabuf.h>, <drm/drm_mode.h>, <drm/drm.h>, <drm/virtgpu_drm.h> of Linux 6.12.
NUMBERS = {
    "VIDIOC_QUERYCAP": 0x80685600,
    "VIDIOC_ENUM_FMT": 0xC0405602,
    "VIDIOC_TRY_FMT": 0xC0D05640,
    "VIDIOC_ENUM_FRAMESIZES": 0xC02C564A,
    "VIDIOC_G_FMT": 0xC0D05604,
    "VIDIOC_S_FMT": 0xC0D05605,
    "VIDIOC_REQBUFS": 0xC0145608,
    "VIDIOC_QUERYBUF": 0xC0585609,
    "VIDIOC_QBUF": 0xC058560F,
    "VIDIOC_EXPBUF": 0xC0405610,
    "VIDIOC_DQBUF": 0xC0585611,
    "VIDIOC_STREAMON": 0x40045612,
    "VIDIOC_STREAMOFF": 0x40045613,
    "VIDIOC_G_CTRL": 0xC008561B,
    "VIDIOC_DQEVENT": 0x80885659,
    "VIDIOC_SUBSCRIBE_EVENT": 0x4020565A,
    "VIDIOC_G_SELECTION": 0xC040565E,
    "VIDIOC_DECODER_CMD": 0xC0485660,
    "DMA_BUF_IOCTL_SYNC": 0x40086200,
    "DMA_HEAP_IOCTL_ALLOC": 0xC0184800,
    "UDMABUF_CREATE": 0x40187542,
    "DRM_IOCTL_MODE_CREATE_DUMB": 0xC02064B2,
    "DRM_IOCTL_MODE_DESTROY_DUMB": 0xC00464B4,
    "DRM_IOCTL_PRIME_HANDLE_TO_FD": 0xC00C642D,
    "DRM_IOCTL_PRIME_FD_TO_HANDLE": 0xC00C642E,
    "DRM_IOCTL_SET_MASTER": 0x641E,
    "DRM_IOCTL_DROP_MASTER": 0x641F,
    "DRM_IOCTL_GEM_CLOSE": 0x40086409,
    "DRM_IOCTL_MODE_GETRESOURCES": 0xC04064A0,
    "DRM_IOCTL_MODE_SETCRTC": 0xC06864A2,
    "DRM_IOCTL_MODE_RMFB": 0xC00464AF,
    "DRM_IOCTL_MODE_DIRTYFB": 0xC01864B1,
    "DRM_IOCTL_MODE_ADDFB2": 0xC06864B8,
    "DRM_IOCTL_VIRTGPU_MAP": 0xC0106441,
    "DRM_IOCTL_VIRTGPU_GETPARAM": 0xC0106443,
    "DRM_IOCTL_VIRTGPU_RESOURCE_INFO": 0xC0106445,
    "DRM_IOCTL_VIRTGPU_TRANSFER_TO_HOST": 0xC02C6447,
    "DRM_IOCTL_VIRTGPU_WAIT": 0xC0086448,
    "DRM_IOCTL_VIRTGPU_GET_CAPS": 0xC0186449,
    "DRM_IOCTL_VIRTGPU_RESOURCE_CREATE_BLOB": 0xC030644A,
    "DRM_IOCTL_VIRTGPU_CONTEXT_INIT": 0xC010644B,
}
SIZES = {
    "v4l2_capability": 104,
    "v4l2_fmtdesc": 64,
    "v4l2_frmsizeenum": 44,
    "v4l2_format": 208,
    "v4l2_pix_format": 48,
    "v4l2_pix_format_mplane": 192,
    "v4l2_plane": 64,
    "v4l2_buffer": 88,
    "v4l2_exportbuffer": 64,
    "v4l2_event": 136,
    "v4l2_decoder_cmd": 72,
    "v4l2_selection": 64,
    "v4l2_requestbuffers": 20,
    "drm_mode_modeinfo": 68,
    "drm_mode_card_res": 64,
    "drm_mode_crtc": 104,
    "drm_mode_fb_cmd2": 104,
    "drm_mode_fb_dirty_cmd": 24,
    "drm_virtgpu_resource_create_blob": 48,
    "drm_virtgpu_3d_transfer_to_host": 44,
    "drm_virtgpu_get_caps": 24,
}
OFFSETS = {
    ("v4l2_buffer", "timestamp"): 24,
    ("v4l2_buffer", "memory"): 60,
    ("v4l2_buffer", "m"): 64,
    ("v4l2_buffer", "length"): 72,
    ("v4l2_plane", "m"): 8,
    ("v4l2_plane", "data_offset"): 16,
    ("v4l2_format", "fmt"): 8,
    ("v4l2_event", "u"): 8,
    ("v4l2_event", "pending"): 72,
    ("v4l2_event", "timestamp"): 80,
    ("v4l2_event", "id"): 96,
    ("drm_mode_crtc", "mode"): 36,
    ("drm_mode_fb_cmd2", "modifier"): 72,
    ("drm_mode_fb_cmd2", "pitches"): 36,
    ("drm_mode_modeinfo", "name"): 36,
    ("drm_virtgpu_resource_create_blob", "blob_id"): 40,
    ("drm_virtgpu_resource_create_blob", "cmd"): 32,
    ("drm_virtgpu_3d_transfer_to_host", "stride"): 36,
}
REQUESTS = {
    request.name: request
    for module in (videodev2, dmabuf, drm, kms, virtgpu, allocators, memfd)
    for request in vars(module).values()
    if isinstance(request, ioctl.Request)
}
STRUCTS = {**vars(videodev2), **vars(kms), **vars(virtgpu)}


def test_every_request_is_checked() -> None:
    assert REQUESTS.keys() == NUMBERS.keys()


@pytest.mark.parametrize("name", NUMBERS)
def test_request_number(name: str) -> None:
    assert hex(REQUESTS[name].number) == hex(NUMBERS[name])


@pytest.mark.parametrize("name", SIZES)
def test_struct_size(name: str) -> None:
    assert ctypes.sizeof(STRUCTS[name]) == SIZES[name]


@pytest.mark.parametrize(("struct", "field"), OFFSETS)
def test_struct_offset(struct: str, field: str) -> None:
    assert getattr(STRUCTS[struct], field).offset == OFFSETS[struct, field]


def test_fourcc_of_the_headers() -> None:
    assert videodev2.fourcc("NV12") == 0x3231564E
    assert videodev2.fourcc("FWHT") == 0x54485746


@given(st.text("ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789", min_size=1, max_size=4))
def test_fourcc_and_back(name: str) -> None:
    assert videodev2.fourcc_name(videodev2.fourcc(name)) == name


def test_a_failing_ioctl_names_its_request(tmp_path) -> None:
    with (tmp_path / "file").open("wb") as file, pytest.raises(OSError, match="VIDIOC_QUERYCAP") as caught:
        videodev2.QUERYCAP(file.fileno(), videodev2.v4l2_capability())
    assert caught.value.errno == 25  # ENOTTY
