"""What can be told of USB, VFIO and virtio-gpu's features without a board."""

from __future__ import annotations

import os
import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.agent import capabilities, usb, vfio
from lab.agent.dmabuf import DmaBuf
from lab.agent.memfd import MemFd

PCI = "/sys/devices/platform/4010000000.pcie/pci0000:00"


@pytest.mark.parametrize(
    ("path", "controller", "interface"),
    [
        (
            f"{PCI}/0000:00:04.0/usb2/2-1/2-1:1.0/host0/target0:0:0/0:0:0:0",
            "0000:00:04.0",
            f"{PCI}/0000:00:04.0/usb2/2-1/2-1:1.0",
        ),
        (
            # a SoC's own controller, and a hub between
            "/sys/devices/platform/soc/fc400000.usb/xhci-hcd.3.auto/usb5/5-1/5-1.4/5-1.4:1.0/host2/target2:0:0/2:0:0:0",
            "xhci-hcd.3.auto",
            "/sys/devices/platform/soc/fc400000.usb/xhci-hcd.3.auto/usb5/5-1/5-1.4/5-1.4:1.0",
        ),
    ],
)
def test_a_usb_disks_controller_is_what_has_the_root_hub(path, controller, interface):
    assert usb.place(path) == {"controller": controller, "interface": interface}


@pytest.mark.parametrize(
    "path", [f"{PCI}/0000:00:1e.0/virtio5", "/sys/devices/platform/usbdrd/ata1/host0", "/"]
)
def test_other_disks_have_no_usb_controller(path):
    assert usb.place(path) is None


def test_bits_of_a_virtio_device():
    # virtio-gpu of QEMU 10.0 with blob=on: EDID, blobs, ring features, VIRTIO_F_VERSION_1
    assert capabilities.feature_bits("0101000000000000000000000000110010000000\n") == {1, 3, 28, 29, 32}


@given(st.integers(0, 2**64 - 1))
def test_every_bit_is_found(bits):
    text = "".join("1" if bits >> at & 1 else "0" for at in range(64))
    assert sum(1 << bit for bit in capabilities.feature_bits(text)) == bits


def test_who_lacks_a_feature_is_named():
    assert capabilities._bit("resource-uuid", 1, {2}) == (True, "")
    assert (
        "VMM's virtio-gpu offers no VIRTIO_GPU_F_RESOURCE_UUID"
        in capabilities._bit("resource-uuid", 0, {3})[1]
    )
    assert "Linux" in capabilities._bit("resource-uuid", None, {2, 3})[1]


def test_the_command_that_makes_a_texture_says_its_own_length():
    """A header of command, object and number of words, as virglrenderer's VIRGL_CMD0 lays it out."""
    words = struct.unpack("<12I", capabilities.texture_command(64, 48))
    assert words[0] & 0xFF == 48
    assert words[0] >> 16 == len(words) - 1
    assert words[4:6] == (64, 48)
    assert words[-1] == capabilities.BLOB


def test_what_the_vmm_refused_is_told_by_name():
    """As Linux 6.12 logs it; another command's number stays one."""
    log = [
        "[drm] features: +virgl +edid +resource_blob +host_visible",
        "[drm:virtio_gpu_dequeue_ctrl_func [virtio_gpu]] *ERROR* response 0x1200 (command 0x208)",
        "[drm:virtio_gpu_dequeue_ctrl_func [virtio_gpu]] *ERROR* response 0x1203 (command 0x777)",
    ]
    assert capabilities.vmm_answers(log) == [
        "the VMM answered RESOURCE_MAP_BLOB with ERR_UNSPEC",
        "the VMM answered 0x777 with ERR_INVALID_RESOURCE_ID",
    ]


def test_the_memfd_behind_a_buffer_is_found_by_kind():
    memory = MemFd(8192)
    buffer = DmaBuf(os.dup(memory.fd), extra=[object(), memory])  # as good as a dma-buf here
    try:
        assert buffer.held(MemFd) is memory
        assert buffer.held(DmaBuf) is None
    finally:
        memory.close()
        os.close(buffer.fd)


def test_nothing_was_taken_so_nothing_comes_back(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(vfio, "FOLDER", str(tmp_path / "none"))
    assert vfio.vfio_give_back() == []
    assert vfio.vfio_give_back("0000:00:01.0") == []
    assert vfio.reset() == []
