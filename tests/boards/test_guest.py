"""A real guest on a real board: started, shared by tests, lost in each way that a VMM can be lost.

The tests share the board and, as far as they leave one, the guest; they run in this order.
"""

from __future__ import annotations

import time

import pytest

from lab.base.errors import LabError
from lab.base.words import IommuMode
from lab.boards import CallError, LostGuestError, Vmm
from lab.boards.guest import Guest

pytestmark = pytest.mark.board

BLOB = Vmm(memory="384M")
HUGE = Vmm(memory="256M", backing="hugetlb", gpu="none")


def left_behind(board):
    """What a virtual machine could leave on the board: its processes, dma-bufs, huge pages."""
    call = board.agent.call
    names = board.agent.run(["sh", "-c", "cat /proc/[0-9]*/comm"])["stdout"].decode().split()
    return {
        "processes": [name for name in names if name.startswith(("qemu", "guest-connect"))],
        "dmabufs": call("dmabufs"),
        "hugepages": call("facts")["hugepages_2m"],
    }


def nothing_left(board):
    board.agent.call("vm_stop")
    board.agent.call("reset")
    deadline = time.monotonic() + 10  # a connection's end takes its time to get to the zygote
    wanted = {"processes": [], "dmabufs": [], "hugepages": 0}
    while (found := left_behind(board)) != wanted and time.monotonic() < deadline:
        time.sleep(0.2)
    return found == wanted or found


def ended(guest):
    """What became of a VMM that is about to end."""
    deadline = time.monotonic() + 30
    while (status := guest.status())["running"] and time.monotonic() < deadline:
        time.sleep(0.2)
    return status


@pytest.fixture(scope="module")
def linux(board):
    """The board, booted once for the module."""
    board.boot(IommuMode.TRANSLATED)
    boot_id = board.agent.call("hello")["boot_id"]
    yield board
    assert board.agent.call("hello")["boot_id"] == boot_id, "a lost guest must not cost the board"
    board.end_guest()


def blob_buffer(guest):
    """A buffer of the guest's virtio-gpu that the VMM has as a dma-buf."""
    return guest.agent.call("allocate", allocator="virtio-gpu-dumb", size=40960)


def test_guest_comes_up_beside_its_board(linux):
    guest = linux.guest(BLOB)
    board, inner = linux.agent.call("hello"), guest.agent.call("hello")
    assert inner["boot_id"] != board["boot_id"]
    assert inner["kernel"] == board["kernel"]
    assert "lab.role=guest" in guest.agent.call("facts")["cmdline"]
    assert guest.status()["running"]
    assert "LAB-READY" in guest.console_since()
    assert "not found" not in guest.console_since(), "no program that its init runs is missing"


def test_guest_of_the_same_configuration_is_the_same_guest(linux):
    first = linux.guest(BLOB)
    assert linux.guest(BLOB.model_copy()) is first


def test_console_and_trace_are_given_in_slices(linux):
    guest = linux.guest(BLOB)
    mark, trace = guest.mark(), guest.trace_mark()
    guest.agent.run(["sh", "-c", "echo words of the guest >/dev/console"])
    guest.agent.call("load", module="virtio_gpu")
    assert "words of the guest" in guest.console_since(mark)
    assert "words of the guest" not in guest.console_since(guest.mark())
    buffer = blob_buffer(guest)
    assert any("virtio_gpu_cmd_res_create_blob" in line for line in guest.trace_since(trace))
    guest.agent.call("free", handle=buffer["handle"])


def test_a_lifted_buffer_is_the_guests_own(linux):
    """Bytes written on either side are read on the other, and the pages are pages of the guest's RAM."""
    guest = linux.guest(BLOB)
    before = [buffer["inode"] for buffer in linux.agent.call("vm_dmabufs")]
    ours = blob_buffer(guest)
    (found,) = linux.agent.call("vm_new_dmabufs", known=before)
    asked = {"known": [*before, found["inode"]], "timeout": 0.1}
    assert linux.agent.request("vm_new_dmabufs", asked, timeout=20) == []
    assert (found["exporter"], found["size"] >= 40960) == ("udmabuf", True)
    lifted = linux.agent.call("vm_lift", inode=found["inode"])
    assert lifted["inode"] == found["inode"]
    guest.agent.call("write", handle=ours["handle"], data=b"from the guest", offset=4096)
    assert linux.agent.call("read", handle=lifted["handle"], size=14, offset=4096) == b"from the guest"
    linux.agent.call("write", handle=lifted["handle"], data=b"from the board", offset=8192)
    assert guest.agent.call("read", handle=ours["handle"], size=14, offset=8192) == b"from the board"
    linux.agent.call("free", handle=lifted["handle"])
    guest.agent.call("free", handle=ours["handle"])


def test_pages_outside_the_guest_are_not_its_pages(linux):
    linux.guest(BLOB)
    own = linux.agent.call("allocate", allocator="udmabuf-4k", size=8192)
    assert linux.agent.call("vm_pages", phys=own["pages"]) == [None, None]
    linux.agent.call("free", handle=own["handle"])


def test_unknown_buffer_is_refused(linux):
    linux.guest(BLOB)
    with pytest.raises(CallError, match="no dma-buf with inode 1"):
        linux.agent.call("vm_lift", inode=1)


def test_screendump_has_the_size_of_its_picture(linux):
    linux.guest(BLOB)
    picture = linux.agent.call("vm_screendump")
    assert len(picture["data"]) == picture["width"] * picture["height"] * 3 > 0


def test_frozen_guest_counts_as_hung(linux):
    """For whoever waits for an answer: here a second agent, so that the guest is still there afterwards."""
    guest = linux.guest(BLOB)
    second = Guest.find("second", linux.agent, linux.ssh_destination(), BLOB)
    linux.agent.call("vm_qmp", command="stop")
    try:
        with pytest.raises(LostGuestError, match="second: hangs: no answer"):
            second.agent.run(["sleep", "60"])
    finally:
        linux.agent.call("vm_qmp", command="cont")
        second.leave()
    assert linux.guest(BLOB) is guest, "it answers again"


def test_killed_vmm_is_told_at_once_and_leaves_nothing(linux):
    guest = linux.guest(BLOB)
    blob_buffer(guest)
    pid = guest.status()["pid"]
    kill = ["sh", "-c", f"sleep 0.5; kill -9 {pid}"]
    linux.agent.call("start", argv=kill)
    with pytest.raises(LostGuestError, match=r"virt-smmu guest: (connection lost|agent ended) during run"):
        guest.agent.run(["sleep", "60"])
    assert ended(guest)["returncode"] == -9
    assert nothing_left(linux) is True


def test_vmm_that_ends_while_its_monitor_is_waited_for_leaves_nothing(linux):
    """As one that was killed just before it is to be stopped: its huge pages are still to be given back."""
    sleeps = {"argv": ["sleep", "1"], "env": {}, "folder": "/run/lab/vm", "hugepages": 4}
    linux.agent.request("vm_start", sleeps, timeout=20)
    assert linux.agent.call("vm_stop")["returncode"] == 0
    assert nothing_left(linux) is True


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"extra": ("-device", "no-such-device")}, "the VMM ended with code 1: .*no-such-device"),
        ({"cmdline": "earlycon=pl011,0x9000000 mem=32M"}, "Kernel panic|the VMM ended"),  # a panic at once
        (
            {"cmdline": "rdinit=/bin/busybox", "timeout": 3.0},
            "no agent within 3 s|Kernel panic|the VMM ended",
        ),
    ],
    ids=["wrong option", "no memory", "no agent"],
)
def test_guest_that_does_not_come_up_is_told_with_its_reason(linux, change, said):
    with pytest.raises(LostGuestError, match=said) as caught:
        linux.guest(HUGE.model_copy(update=change))
    assert "last lines of the guest's console" in caught.value.detail
    assert nothing_left(linux) is True


def test_program_that_is_not_on_the_board_is_told_with_what_to_do(linux):
    with pytest.raises(LabError, match="crosvm is not on the board: crosvm is in no distribution"):
        linux.guest(Vmm(kind="crosvm"))
    assert nothing_left(linux) is True


def test_more_memory_than_the_board_has_is_told(linux):
    with pytest.raises(LostGuestError, match=r"8192 MiB of huge pages: the board has .* MiB to give"):
        linux.guest(HUGE.model_copy(update={"memory": "8G"}))
    assert nothing_left(linux) is True


def test_decoder_goes_into_the_guest_and_comes_back_when_that_panics(linux):
    node = next(decoder for decoder in linux.target.decoders if decoder.name == "wide")
    bound = lambda agent: {d["device"] for d in agent.call("decoders")}  # noqa: E731
    assert node.device in bound(linux.agent)
    guest = linux.guest(HUGE.model_copy(update={"video": "vfio"}))
    assert linux.agent.call("facts")["hugepages_2m"] >= HUGE.hugepages
    assert node.device not in bound(linux.agent)
    found = guest.agent.call("load", module="fwht_decoder", params={"address_bits": [32]})
    assert len(found["devices"]) == 1
    with pytest.raises(LostGuestError):
        guest.agent.run(["sh", "-c", "echo 1 >/proc/sys/kernel/sysrq; echo c >/proc/sysrq-trigger; sleep 60"])
    assert not ended(guest)["running"], "panic=-1 and -no-reboot end the VMM"
    assert "Kernel panic" in guest.console_since(), "its last words are kept"
    linux.end_guest()
    assert node.device in bound(linux.agent)
    assert nothing_left(linux) is True
