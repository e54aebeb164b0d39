"""Devices of a real board: a disk behind its USB controller, and its decoder given away and taken back."""

from __future__ import annotations

import errno

import pytest

from lab.base.words import IommuMode
from lab.boards import CallError
from lab.media import sample

pytestmark = pytest.mark.board

STREAM = sample(64, 64, 1)
FRAME = STREAM.references("NV12")[0]
BLOCK = bytes(range(256)) * 2


@pytest.fixture(scope="module")
def call(board):
    """Calls on the board, booted once for the module."""
    board.boot(IommuMode.TRANSLATED)
    yield lambda name, **words: board.agent.request(name, words, timeout=60)
    board.agent.call("reset")


@pytest.fixture(scope="module")
def decoder(smmu):
    return smmu.decoders[0].device


@pytest.fixture
def decoded(call, decoder):
    """A udmabuf of scattered pages with a decoded frame in it."""
    buffer = call("allocate", allocator="udmabuf-4k", size=len(FRAME))
    raw = decode(call, decoder, allocator="udmabuf-4k", handles=[buffer["handle"]])
    assert raw["frames"][0]["data"] == FRAME
    yield buffer
    call("free", handle=buffer["handle"])


def decode(call, decoder, **words):
    return call("share", stream=STREAM.data, sizes=STREAM.sizes, device=decoder, **words)


HOLDER = """
import fcntl, os, sys, time
with open(sys.argv[1], "rb") as node:
    fcntl.ioctl(node, 0x40045644, (3).to_bytes(4, "little"))  # VIDIOC_S_PRIORITY, V4L2_PRIORITY_RECORD
    open("/run/held", "w").close()
    time.sleep(1.0)
"""


def test_a_decoder_tells_its_formats(call, decoder):
    """What a target file would say of it comes from the device: sizes, strides, bytes of a frame."""
    node = next(found["node"] for found in call("decoders") if found["device"] == decoder)
    found = call("decoder_formats", node=node, width=98, height=66)
    assert found["api"] == "stateful"
    assert list(found["coded"]) == ["FWHT"]
    coded = found["coded"]["FWHT"]
    assert coded["sizes"]["min"] <= coded["sizes"]["max"]
    assert {"NV12", "YU12"} <= set(coded["raw"])
    for name in ("NV12", "YU12"):
        raw = coded["raw"][name]
        (plane,) = raw["planes"]
        assert (raw["width"], raw["height"]) >= (98, 66)
        assert plane["bytesperline"] >= 98
        assert plane["sizeimage"] == plane["bytesperline"] * raw["height"] * 3 // 2
    larger = call("decoder_formats", node=node, width=196, height=132)["coded"]["FWHT"]["raw"]["NV12"]
    assert larger["planes"][0]["sizeimage"] > coded["raw"]["NV12"]["planes"][0]["sizeimage"]


def test_a_decoder_whose_priority_somebody_holds_for_a_moment_is_waited_for(board, call, decoder):
    """As v4l2-compliance does, which runs beside the suites: every ioctl that sets something is EBUSY."""
    node = next(found["node"] for found in call("decoders") if found["device"] == decoder)
    holder = call("start", argv=["python3", "-c", HOLDER, node])
    board.agent.run(["busybox", "sh", "-c", "until [ -e /run/held ]; do usleep 20000; done"], timeout=20)
    raw = decode(call, decoder, allocator="decoder-mmap")
    ended = board.agent.request("finish", {"pid": holder, "timeout": 10}, timeout=20)
    assert (ended["rc"], ended["stderr"]) == (0, b"")
    assert (raw["stage"], raw["errno"]) == ("done", None)
    assert raw["frames"][0]["data"] == FRAME


def test_the_usb_controller_reads_the_pages_that_the_decoder_wrote(call, decoded):
    call("usb_store", data=bytes(len(FRAME)))
    sent = call("usb_write", handle=decoded["handle"], size=len(FRAME))
    assert (sent["stage"], sent["errno"], sent["missing"]) == ("done", None, [])
    assert call("usb_load", size=len(FRAME)) == FRAME
    consumer = sent["consumer"]
    assert (consumer["device"], consumer["bounced"], sent["faults"]) == ("0000:00:04.0", 0, 0)
    [event] = consumer["maps"]
    assert {page // 4096 for page in event["phys"]} == {page // 4096 for page in decoded["pages"]}
    assert event["ents"] == 1, "the IOMMU makes one range of them"
    assert sum(length for _, length in event["dma"]) == len(FRAME)


def test_the_usb_controller_writes_pages_that_the_dma_buf_shows(call, decoded):
    call("usb_store", data=BLOCK, offset=4096)
    read = call("usb_read", handle=decoded["handle"], size=len(BLOCK), offset=4096)
    assert read["stage"] == "done"
    assert call("read", handle=decoded["handle"], size=len(FRAME)) == BLOCK + FRAME[len(BLOCK) :]


def test_the_mapping_of_a_dma_buf_is_refused(call, decoded):
    for direction in ("usb_write", "usb_read"):
        answer = call(direction, handle=decoded["handle"], size=len(FRAME), through="mapping")
        assert (answer["stage"], answer["errno"]) == ("import", errno.EFAULT)
        assert answer["consumer"]["maps"] == []
    assert call("read", handle=decoded["handle"], size=len(FRAME)) == FRAME


def test_a_buffer_without_a_memfd_has_no_pages_to_name(call):
    buffer = call("allocate", allocator="heap-system", size=4096)
    with pytest.raises(CallError, match="no memfd"):
        call("usb_write", handle=buffer["handle"], size=4096)
    call("free", handle=buffer["handle"])


def test_a_decoder_that_is_given_away_comes_back_at_the_reset(call, decoder):
    taken = call("vfio_take", device=decoder)
    assert taken["was"] == "fwht-decoder"
    assert call("vfio_take", device=decoder) == taken
    assert decode(call, decoder, allocator="decoder-mmap")["stage"] == "probe"
    assert call("reset") == []
    assert decode(call, decoder, allocator="decoder-mmap")["frames"][0]["data"] == FRAME
    assert call("vfio_give_back") == []


def test_a_decoder_stays_with_who_uses_it(call, decoder):
    group = call("vfio_take", device=decoder)["group"]
    user = call("start", argv=["sh", "-c", f"exec 3<>/dev/vfio/{group}; read line; sleep 60"], stdin=b"")
    call("run", argv=["sleep", "0.5"])
    assert call("reset") == []
    assert call("vfio_take", device=decoder)["group"] == group
    with pytest.raises(CallError) as caught:
        call("vfio_give_back", device=decoder)
    assert (caught.value.errno, str(user) in caught.value.message) == (errno.EBUSY, True)
    call("run", argv=["kill", "-9", "--", f"-{user}"])
    [back] = call("vfio_give_back")
    assert back["driver"] == "fwht-decoder"
    assert decode(call, decoder, allocator="decoder-mmap")["stage"] == "done"


def test_what_cannot_be_taken_keeps_its_driver(call):
    with pytest.raises(CallError, match="no PCI device"):
        call("vfio_take", device="0000:00:09.0")
    assert call("vfio_give_back") == []


def test_capabilities_of_the_board(call, decoder):
    found = call("board_capabilities", device=decoder, gles=False)
    assert {name: tuple(value) for name, value in found.items()} == {
        "usb-disk": (True, ""),
        "iommu-group": (True, ""),
    }


def test_capabilities_of_a_virtio_gpu_without_blobs(call):
    """The board's own, which is the outer QEMU's: an old one, and it says so itself."""
    call("load", module="virtio_gpu")
    found = call("gpu_capabilities")
    assert not any(present for present, _ in found.values())
    assert "VIRTIO_GPU_F_RESOURCE_BLOB" in found["resource-blob"][1]
    assert "VIRTIO_GPU_F_RESOURCE_UUID" in found["resource-uuid"][1]
    assert "VIRTIO_GPU_F_VIRGL" in found["virgl"][1]
    assert "ENODEV" in found["prime-import"][1]
    assert found["host3d-dmabuf"] == found["host-visible"]
