"""What a vhost-user device says that only shows memory of this board to a guest, in a BAR. Pure.

No queue is ever served.

Protocol: docs/interop/vhost-user.rst of QEMU. The VMM is the front-end and connects to a UNIX socket; the
shared memory (protocol bit 22, QEMU >= 11.0) is announced by GET_SHMEM_CONFIG when the VMM starts, and filled
by SHMEM_MAP messages from the back-end. `vhost_device` does the talking.
"""

from __future__ import annotations

import struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

HEADER = struct.Struct("<III")  # request, flags, bytes of payload
U64 = struct.Struct("<Q")
VRING_STATE = struct.Struct("<II")  # index, number
VERSION, REPLY, NEED_REPLY = 1, 4, 8  # flags of the header

VIRTIO_F_VERSION_1, VHOST_USER_F_PROTOCOL_FEATURES = 32, 30
PROTOCOL = {
    "mq": 0,
    "reply_ack": 3,
    "backend_req": 5,
    "config": 9,
    "backend_send_fd": 10,
    "shmem": 22,
}
"""Protocol features that are offered, by bit."""

NAMES = {
    1: "get_features",
    11: "get_vring_base",
    15: "get_protocol_features",
    16: "set_protocol_features",
    17: "get_queue_num",
    18: "set_vring_enable",
    21: "set_backend_req_fd",
    24: "get_config",
    44: "get_shmem_config",
}
"""The requests that mean something here. Every other one is obeyed by doing nothing."""

SHMEM_MAP, SHMEM_UNMAP = 9, 10  # of the back-end
MMAP = struct.Struct("<B7xQQQQ")  # VhostUserMMap: shmid, fd_offset, shm_offset, len, flags
MAP_RW = 1
QUEUES = 2


def message(request: int, payload: bytes = b"", flags: int = 0) -> bytes:
    """One message as it goes over the socket."""
    return HEADER.pack(request, VERSION | flags, len(payload)) + payload


def mapping(offset: int, size: int, *, shmid: int = 0, fd_offset: int = 0, flags: int = MAP_RW) -> bytes:
    """The payload of SHMEM_MAP and SHMEM_UNMAP; ``offset`` lies within the shared memory region."""
    return MMAP.pack(shmid, fd_offset, offset, size, flags)


def shmem_config(sizes: list[int]) -> bytes:
    """The payload that answers GET_SHMEM_CONFIG: region N has ``sizes[N]`` bytes."""
    return struct.pack(f"<II{len(sizes)}Q", len(sizes), 0, *sizes)


class Front:
    """What one front-end has said so far, and what it is answered."""

    def __init__(self, size: int) -> None:
        """``size``: bytes of the shared memory region."""
        self.size = size
        self.protocol = 0
        self.enabled = False
        """Whether it started the queues, which it does when the guest's driver sets DRIVER_OK."""
        self.mapped: dict[int, int] = {}
        """What it was made to map: offset in the region -> bytes."""
        self.requests: int | None = None
        """The descriptor of its socket for requests of the back-end."""

    @property
    def shares(self) -> bool:
        """Whether it took up shared memory regions."""
        return bool(self.protocol >> PROTOCOL["shmem"] & 1)

    @property
    def ready(self) -> bool:
        """Whether the guest's driver runs, before which nothing may be mapped."""
        return self.enabled and self.requests is not None

    def answer(self, request: int, payload: bytes, fds: list[int]) -> bytes | None:
        """Return the payload of the reply; ``None``: there is none but for an acknowledgement if wanted.

        ``fds`` are the caller's; one that is kept is taken out of the list.
        """
        act: Callable[[bytes, list[int]], bytes | None] | None
        act = getattr(self, f"_{NAMES.get(request, '')}", None)
        return act(payload, fds) if act is not None else None

    def _get_features(self, payload: bytes, fds: list[int]) -> bytes:
        return U64.pack(1 << VIRTIO_F_VERSION_1 | 1 << VHOST_USER_F_PROTOCOL_FEATURES)

    def _get_protocol_features(self, payload: bytes, fds: list[int]) -> bytes:
        return U64.pack(sum(1 << bit for bit in PROTOCOL.values()))

    def _set_protocol_features(self, payload: bytes, fds: list[int]) -> None:
        (self.protocol,) = U64.unpack(payload)

    def _get_queue_num(self, payload: bytes, fds: list[int]) -> bytes:
        return U64.pack(QUEUES)

    def _get_vring_base(self, payload: bytes, fds: list[int]) -> bytes:
        return payload  # index and the next descriptor, which stays what it was: 0

    def _set_backend_req_fd(self, payload: bytes, fds: list[int]) -> None:
        if fds:
            self.requests = fds.pop()

    def _get_config(self, payload: bytes, fds: list[int]) -> bytes:
        return payload[:12] + bytes(len(payload) - 12)  # offset, size, flags; there is nothing to configure

    def _set_vring_enable(self, payload: bytes, fds: list[int]) -> None:
        _, enable = VRING_STATE.unpack(payload)
        self.enabled = bool(enable)
        if not enable:
            self.mapped.clear()  # the front-end forgets them with the driver

    def _get_shmem_config(self, payload: bytes, fds: list[int]) -> bytes:
        return shmem_config([self.size])

    def room(self, size: int, unit: int) -> int | None:
        """Return the first multiple of ``unit`` where ``size`` bytes of the region are free, or ``None``."""
        for start in range(0, self.size - size + 1, unit):
            if all(
                start + size <= offset or start >= offset + length for offset, length in self.mapped.items()
            ):
                return start
        return None
