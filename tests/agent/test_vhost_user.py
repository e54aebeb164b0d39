"""What a vhost-user device says: bytes held against docs/interop/vhost-user.rst of QEMU 11.1."""

from __future__ import annotations

import errno
import itertools
import json
import os
import signal
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.agent import barblob, hostblob, ioctl, vhost_user
from lab.agent.vhost_device import Device
from lab.agent.vhost_user import Front, mapping, message, shmem_config

MIB = 1 << 20
PAGES = 1 << 12
SET_VRING_ENABLE, GET_SHMEM_CONFIG = 18, 44
ON, OFF = struct.pack("<II", 1, 1), struct.pack("<II", 1, 0)  # queue 1


def test_a_message_is_header_and_payload():
    assert message(44, b"abc", vhost_user.REPLY).hex() == "2c0000000500000003000000616263"


def test_mapping_is_the_specifications_struct():
    # VhostUserMMap: u8 shmid, u8 padding[7], u64 fd_offset, shm_offset, len, flags
    packed = mapping(0x200000, 0x1000, shmid=3, fd_offset=0x5000)
    assert packed.hex() == (
        "03000000000000000050000000000000000020000000000000100000000000000100000000000000"
    )


def test_shared_memory_configuration_is_the_specifications_struct():
    # VhostUserShMemConfig: u32 nregions, u32 padding, u64 memory_sizes[]; the index is the region's id
    assert shmem_config([8 * MIB, 4096]).hex() == "020000000000000000008000000000000010000000000000"


def test_exporters_argument_is_that_of_its_header():
    # What a C compiler makes of images/blob-exporter/blob_exporter.h
    fields = {name: getattr(barblob.blob_export, name).offset for name, *_ in barblob.blob_export._fields_}
    assert fields == {"offset": 0, "size": 8, "address": 16, "fd": 24, "pad": 28}
    assert barblob.BLOB_EXPORT.number == 0xC0204C00
    assert isinstance(barblob.BLOB_EXPORT, ioctl.Request)


def test_features_that_shared_memory_needs_are_offered():
    front = Front(MIB)
    features = struct.unpack("<Q", front.answer(1, b"", []) or b"")[0]
    assert features >> 30 & 1, "without PROTOCOL_FEATURES no protocol feature is asked for"
    assert features >> 32 & 1, "a modern virtio driver refuses a device without VERSION_1"
    protocol = struct.unpack("<Q", front.answer(15, b"", []) or b"")[0]
    # SHMEM; a socket for SHMEM_MAP that takes descriptors; its answer; the configuration space
    assert all(protocol >> bit & 1 for bit in (22, 5, 10, 3, 9))


@pytest.mark.parametrize(("protocol", "shares"), [(1 << 22 | 1 << 5, True), (1 << 5, False)])
def test_front_end_takes_up_shared_memory_or_not(protocol: int, shares: bool):
    front = Front(MIB)
    assert front.answer(16, struct.pack("<Q", protocol), []) is None
    assert front.shares is shares


def test_not_ready_before_the_queues_are_started():
    """QEMU starts them when the guest's driver sets DRIVER_OK, and ends by a mapping that comes before."""
    front = Front(MIB)
    front.answer(21, struct.pack("<Q", 0), [7])
    assert not front.ready
    front.answer(SET_VRING_ENABLE, ON, [])
    assert front.ready
    front.answer(SET_VRING_ENABLE, OFF, [])
    assert not front.ready


def test_what_was_mapped_goes_with_the_driver():
    front = Front(MIB)
    front.answer(SET_VRING_ENABLE, ON, [])
    front.mapped[0] = 4096
    front.answer(SET_VRING_ENABLE, OFF, [])
    assert not front.mapped


def test_configuration_space_reads_as_zeros_of_the_size_asked():
    header = struct.pack("<III", 4, 16, 0)
    assert Front(MIB).answer(24, header + b"\xff" * 16, []) == header + bytes(16)


def test_unknown_requests_keep_nothing():
    fds = [5, 6]
    assert Front(MIB).answer(5, b"", fds) is None
    assert fds == [5, 6]


@given(st.lists(st.tuples(st.integers(1, 16), st.booleans()), max_size=30))
def test_mappings_never_overlap_and_stay_inside(steps: list[tuple[int, bool]]):
    front = Front(64 * PAGES)
    for pages, drop in steps:
        if drop and front.mapped:
            front.mapped.popitem()
        offset = front.room(pages * PAGES, PAGES)
        if offset is None:
            longest = max_gap(front)
            assert longest < pages * PAGES
            continue
        front.mapped[offset] = pages * PAGES
    ends = sorted((offset, offset + size) for offset, size in front.mapped.items())
    assert all(first[1] <= second[0] for first, second in itertools.pairwise(ends))
    assert not ends or ends[-1][1] <= front.size


def max_gap(front: Front) -> int:
    """The longest free piece of the region."""
    at, longest = 0, 0
    for offset in sorted(front.mapped):
        longest = max(longest, offset - at)
        at = offset + front.mapped[offset]
    return max(longest, front.size - at)


@pytest.mark.parametrize(
    ("pages", "contiguous", "bits", "reached"),
    [
        ([0x4000_0000, 0x4000_1000], True, 32, True),
        ([0x4000_0000, 0x4000_2000], True, 32, False),
        ([0x4000_0000, 0x4000_2000], False, 32, True),
        ([0xFFFF_F000], True, 32, True),
        ([0xFFFF_F000, 0x1_0000_0000], True, 32, False),
        ([0x1_0000_0000], True, 64, True),
        ([], False, 64, False),
        (None, False, 64, False),
    ],
)
def test_what_a_decoder_reaches(pages: list[int] | None, contiguous: bool, bits: int, reached: bool):
    assert hostblob.fits(pages, contiguous, bits) is reached


@pytest.fixture
def device(tmp_path: Path) -> Iterator[Device]:
    """The real thing on a real socket."""
    made = Device(str(tmp_path / "socket"), MIB)
    yield made
    made.close()


def connect(device: Device) -> socket.socket:
    """A connection to the device, with a limit to what a test waits."""
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(10)
    connection.connect(device.path)
    return connection


def test_bar_size_is_a_power_of_two(tmp_path: Path):
    with pytest.raises(ValueError, match="power of two"):
        Device(str(tmp_path / "socket"), 3 * MIB)


def test_acknowledges_what_it_ignores_and_answers_after_a_split_message(device: Device):
    with connect(device) as front:
        front.sendall(message(3, b"", vhost_user.NEED_REPLY))
        assert front.recv(100) == message(3, bytes(8), vhost_user.REPLY)
        for byte in message(GET_SHMEM_CONFIG):
            front.sendall(bytes([byte]))
        assert front.recv(100) == message(GET_SHMEM_CONFIG, shmem_config([MIB]), vhost_user.REPLY)


def test_descriptors_that_it_does_not_want_are_closed(device: Device):
    reader, writer = os.pipe()
    with connect(device) as front:
        socket.send_fds(front, [message(13, bytes(8), vhost_user.NEED_REPLY)], [writer])
        front.recv(100)
        os.close(writer)
        assert os.read(reader, 1) == b"", "somebody still holds the pipe's other end"
    os.close(reader)


def test_mapping_waits_for_the_guests_driver_and_gives_the_memory(device: Device):
    with pytest.raises(OSError, match="no VMM") as refused:
        device.await_ready(0)
    assert refused.value.errno == errno.ENOTCONN
    ours, theirs = socket.socketpair()
    with connect(device) as front, ours, theirs:
        front.sendall(message(16, struct.pack("<Q", 1 << 22 | 1 << 5), vhost_user.NEED_REPLY))
        front.recv(100)
        with pytest.raises(OSError, match="no driver in the guest") as refused:
            device.map(0, 4096, 4096, timeout=0)
        assert refused.value.errno == errno.ETIMEDOUT
        socket.send_fds(front, [message(21, b"", vhost_user.NEED_REPLY)], [theirs.fileno()])
        front.sendall(message(SET_VRING_ENABLE, ON, vhost_user.NEED_REPLY))
        for code, error in ((0, None), (5, "refused SHMEM_MAP")):
            ours.sendall(message(9, struct.pack("<Q", code), vhost_user.REPLY))
            memory = os.memfd_create("test")
            try:
                if error:
                    with pytest.raises(OSError, match=error):
                        device.map(memory, 4096, 4096)
                else:
                    assert device.map(memory, 4096, 4096)[1] == 0
                asked, fds, _, _ = socket.recv_fds(ours, 100, 2)
                assert os.path.samestat(os.fstat(fds[0]), os.fstat(memory))
                os.close(fds[0])
            finally:
                os.close(memory)
            offset = 0 if error is None else 4096
            assert asked == message(9, mapping(offset, 4096), vhost_user.NEED_REPLY)


def test_a_vmm_without_shared_memory_is_told_apart(device: Device):
    with connect(device) as front:
        front.sendall(message(16, struct.pack("<Q", 1 << 5), vhost_user.NEED_REPLY))
        front.recv(100)
        with pytest.raises(OSError, match="SHMEM") as refused:
            device.await_ready(0)
        assert refused.value.errno == errno.EOPNOTSUPP


def test_a_broken_front_end_is_dropped_and_the_next_one_served(device: Device):
    with connect(device) as front:
        front.sendall(message(SET_VRING_ENABLE, b"\0"))  # too short
        assert front.recv(1) == b""
    with connect(device) as front:
        front.sendall(message(1))
        assert len(front.recv(100)) == 20


LEAVES = """
import sys
from lab.agent import hostblob

hostblob.LEFT = sys.argv[2]
hostblob.host_blob_start(1 << 20, sys.argv[1])
for line in sys.stdin:
    try:
        getattr(hostblob, line.strip())()
        print("done", flush=True)
    except OSError as error:
        print(error.strerror, flush=True)
"""


class Leaver:
    """Another process that has the device, until it is told to leave it."""

    def __init__(self, folder: Path) -> None:
        self.socket, self.left = str(folder / "socket"), str(folder / "left")
        self.process = subprocess.Popen(
            [sys.executable, "-c", LEAVES, self.socket, self.left],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.tell("host_blob_status") == "done"

    def tell(self, call: str) -> str:
        """What comes of a call there."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(f"{call}\n")
        self.process.stdin.flush()
        return self.process.stdout.readline().strip()


@pytest.fixture
def leaver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Leaver]:
    """One that listens, and an agent here that finds what it leaves."""
    made = Leaver(tmp_path)
    monkeypatch.setattr(hostblob, "LEFT", made.left)
    with made.process:
        yield made
        made.process.kill()
    hostblob.host_blob_stop()


@pytest.mark.parametrize("ready", [False, True])
def test_another_agent_goes_on_with_the_vmm_that_is_connected(leaver: Leaver, ready: bool):
    """``ready``: the guest's driver runs before."""
    ours, theirs = socket.socketpair()
    with socket.socket(socket.AF_UNIX) as front, ours, theirs:
        front.settimeout(10)
        front.connect(leaver.socket)
        front.sendall(message(16, struct.pack("<Q", 1 << 22 | 1 << 5), vhost_user.NEED_REPLY))
        front.recv(100)
        assert leaver.tell("leave").startswith("no VMM is connected"), "it has not said where to ask it"
        socket.send_fds(front, [message(21, b"", vhost_user.NEED_REPLY)], [theirs.fileno()])
        front.recv(100)
        if ready:
            front.sendall(message(SET_VRING_ENABLE, ON, vhost_user.NEED_REPLY))
            front.recv(100)
        assert leaver.tell("leave") == "done"

        status = hostblob.host_blob_start(MIB, leaver.socket)
        assert leaver.process.wait(10) == -signal.SIGKILL, "two would read from one socket"
        assert (status["connected"], status["shares"], status["ready"]) == (True, True, ready)
        assert not Path(leaver.left).exists(), "nobody else is to take it"
        front.sendall(message(SET_VRING_ENABLE, ON, vhost_user.NEED_REPLY))
        assert front.recv(100) == message(SET_VRING_ENABLE, bytes(8), vhost_user.REPLY)
        assert hostblob.host_blob_status()["ready"]
        ours.sendall(message(9, bytes(8), vhost_user.REPLY))
        device = hostblob._started()
        memory = os.memfd_create("test")
        try:
            assert device.map(memory, 4096, 4096)[1] == 0
        finally:
            os.close(memory)
        asked, fds, _, _ = socket.recv_fds(ours, 100, 2)
        os.close(fds[0])
        assert asked == message(9, mapping(0, 4096), vhost_user.NEED_REPLY)
        with pytest.raises(OSError, match="mapped") as refused:
            device.leave()
        assert refused.value.errno == errno.EBUSY
    with socket.socket(socket.AF_UNIX) as front:
        front.settimeout(10)
        front.connect(leaver.socket)  # the socket was taken over, too: the next VMM is served
        front.sendall(message(1))
        assert len(front.recv(100)) == 20


def test_an_agent_that_stays_leaves_nothing(leaver: Leaver):
    assert leaver.tell("leave") == "done", "no VMM, nothing to leave"
    assert not Path(leaver.left).exists()
    ours, theirs = socket.socketpair()
    with socket.socket(socket.AF_UNIX) as front, ours, theirs:
        front.connect(leaver.socket)
        socket.send_fds(front, [message(21, b"", vhost_user.NEED_REPLY)], [theirs.fileno()])
        front.recv(100)
        assert leaver.tell("leave") == "done"
        assert Path(leaver.left).exists()
        assert leaver.tell("stay") == "done"
        assert not Path(leaver.left).exists()
        assert leaver.tell("leave") == "done"
        text = Path(leaver.left).read_text()
        another = {**json.loads(text), "started": 1}
        Path(leaver.left).write_text(json.dumps(another))
        with pytest.raises(OSError, match="has ended"):
            hostblob.host_blob_start(MIB, leaver.socket)
        assert leaver.process.poll() is None, "another process of its number is not its business"
        Path(leaver.left).write_text(text)
        leaver.process.kill()
        leaver.process.wait()
        with pytest.raises(OSError, match="has ended") as refused:
            hostblob.host_blob_start(MIB, leaver.socket)
        assert refused.value.errno == errno.ESRCH
