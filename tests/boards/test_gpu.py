"""OpenGL ES and virtio-gpu on a real board: what the agent samples, shows, hears and gives back."""

from __future__ import annotations

import random

import pytest

from lab.base.words import IommuMode
from lab.boards import CallError

pytestmark = pytest.mark.board

WIDTH, HEIGHT, STRIDE, ROWS = 60, 46, 96, 48
"""A picture with padding on the right and below, so that no plane is where a packed one would be."""


@pytest.fixture
def agent(board):
    board.boot(IommuMode.OFF)
    board.agent.call("load", module="virtio_gpu")
    yield board.agent
    assert board.agent.call("reset") == []


@pytest.mark.parametrize("allocator", ["udmabuf-4k", "vgem", "virtio-gpu-dumb", "heap-cma"])
def test_every_byte_of_a_plane_is_sampled_from_where_it_lies(agent, allocator):
    buffer = agent.call("allocate", allocator=allocator, size=STRIDE * ROWS * 3 // 2)["handle"]
    seen = agent.call("gles_import", handle=buffer, width=WIDTH, height=HEIGHT, stride=STRIDE, rows=ROWS)
    for _ in range(2):  # the second shows what was written since the import
        data = random.randbytes(STRIDE * ROWS * 3 // 2)
        agent.call("write", handle=buffer, data=data)
        starts = [row * STRIDE for row in range(HEIGHT)] + [
            (ROWS + row) * STRIDE for row in range(HEIGHT // 2)
        ]
        visible = b"".join(data[start : start + WIDTH] for start in starts)
        assert agent.call("gles_read", picture=seen["picture"])["data"] == visible


@pytest.mark.parametrize("fourcc", ["AB24", "AR24"])
def test_one_image_of_four_bytes_a_pixel(agent, fourcc):
    data = random.randbytes(64 * 64 * 4)
    buffer = agent.call("allocate", allocator="udmabuf-4k", size=len(data))["handle"]
    agent.call("write", handle=buffer, data=data)
    assert agent.call("gles_sample", handle=buffer, width=64, height=64, fourcc=fourcc)["data"] == data


def framebuffers(agent):
    number = agent.call("gpu_info")["card"].removeprefix("/dev/dri/card")
    text = agent.run(["cat", f"/sys/kernel/debug/dri/{number}/framebuffer"])["stdout"].decode()
    return text.count("framebuffer[")


def test_what_is_shown_is_taken_back(agent):
    before = framebuffers(agent)
    trace = agent.call("gpu_trace")["trace"]
    buffer = agent.call("allocate", allocator="virtio-gpu-dumb", size=8192, width=32)["handle"]
    shown = agent.call("gpu_scanout", handle=buffer, width=32, height=64)
    assert framebuffers(agent) == before + 1
    agent.call("gpu_commands", trace=trace)
    agent.call("gpu_flush", display=shown["display"])
    heard = agent.call("gpu_commands", trace=trace)
    assert heard["missing"] == []
    queued = [command["name"] for command in heard["commands"] if command["event"] == "queue"]
    assert "transfer_to_host_2d" in queued, "no blob: the device has to copy"
    assert "resource_flush" in queued
    assert not [command for command in heard["commands"] if command["name"].startswith("err_")]
    agent.call("free", handle=shown["display"])
    assert framebuffers(agent) == before


def test_what_this_virtio_gpu_lacks_is_said(agent):
    assert agent.call("gpu_info")["params"]["resource_blob"] == 0
    answer = agent.call("gpu_blob", size=4096)
    assert (answer["stage"], answer["errno"]) == ("create", 22)
    with pytest.raises(CallError, match="offers no blob resources"):
        agent.call("allocate", allocator="guest-blob", size=4096)
    with pytest.raises(CallError, match="has no 3D"):
        agent.call("virgl_texture", width=64, height=64)
