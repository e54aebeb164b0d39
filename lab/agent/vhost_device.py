"""A vhost-user device on a UNIX socket that shows memory of this board to a guest, see `vhost_user`."""

from __future__ import annotations

import contextlib
import errno
import os
import struct
import threading
from array import array

from .vhost_user import (
    HEADER,
    NEED_REPLY,
    PROTOCOL,
    REPLY,
    SHMEM_MAP,
    SHMEM_UNMAP,
    U64,
    Front,
    mapping,
    message,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

SOL_SOCKET, SCM_RIGHTS, MSG_CMSG_CLOEXEC = 1, 1, 0x40000000
AF_UNIX, SOCK_STREAM, SHUT_RDWR = 1, 1, 2
SOCKET = "/run/lab/host-blob.sock"
"""Where the agent's own device listens (`hostblob`)."""
DESCRIPTORS = ("listener", "connection", "requests")
FDS = 8  # most that a message has: VHOST_USER_BACKEND_MAX_FDS and VHOST_MEMORY_BASELINE_NREGIONS


class Device:
    """The device behind a UNIX socket: serves one front-end after another in a thread of its own."""

    def __init__(self, path: str, size: int, left: dict[str, int] | None = None) -> None:
        """Listen at ``path``; ``size``: bytes of the shared memory region, a power of two.

        ``left``: go on where another process's device was, with `leave`'s descriptors taken over.
        """
        import _socket  # the socket module takes long to load

        if size < 4096 or size & (size - 1):
            raise ValueError(f"a BAR has a power of two of bytes, not {size}")
        self.path = path
        self.size = size
        self.front: Front | None = None
        self.error = ""
        """Why the last connection ended, where it was not the front-end's wish."""
        self._changed = threading.Condition()
        self._connection: Any = None
        self._closed = False
        if left is not None:
            self._listener: Any = _socket.socket(AF_UNIX, SOCK_STREAM, 0, left["listener"])
            self._connection = _socket.socket(AF_UNIX, SOCK_STREAM, 0, left["connection"])
            self.front = Front(size)
            self.front.protocol, self.front.enabled = left["protocol"], bool(left["enabled"])
            self.front.requests = left["requests"]
        else:
            self._listener = _listener(path)
        self._thread = threading.Thread(target=self._serve, name="vhost-user", daemon=True)
        self._thread.start()

    def leave(self) -> dict[str, int]:
        """Return what another process needs to go on with the front-end that is connected.

        That are `DESCRIPTORS` of this process, ``protocol`` and ``enabled`` of `Front`. This one still
        serves: the other one has to end it. ``OSError``: ENOTCONN where there is no front-end, EBUSY while
        it shows memory, which stays behind.
        """
        with self._changed:
            front = self.front
            if front is None or front.requests is None:
                raise OSError(errno.ENOTCONN, f"no VMM is connected to {self.path}")
            if front.mapped:
                raise OSError(errno.EBUSY, "memory of this agent is mapped into the guest")
            descriptors = self._listener.fileno(), self._connection.fileno(), front.requests
            agreed = {"protocol": front.protocol, "enabled": int(front.enabled)}
            return dict(zip(DESCRIPTORS, descriptors, strict=True)) | agreed

    def await_ready(self, timeout: float) -> Front:
        """Wait for the guest's driver. ``OSError``: ENOTCONN, EOPNOTSUPP (no shared memory), ETIMEDOUT."""
        with self._changed:
            self._changed.wait_for(lambda: self.front is not None and self.front.ready, timeout)
            front = self.front
            if front is None:
                raise OSError(errno.ENOTCONN, f"no VMM is connected to {self.path} {self.error}".strip())
            if not front.shares:
                raise OSError(
                    errno.EOPNOTSUPP,
                    "the VMM did not take up vhost-user's protocol feature SHMEM "
                    f"(bit {PROTOCOL['shmem']}; it took {front.protocol:#x})",
                )
            if not front.ready:
                raise OSError(errno.ETIMEDOUT, "no driver in the guest started the device")
            return front

    def map(self, fd: int, size: int, unit: int, timeout: float = 10.0) -> tuple[Front, int]:
        """Map ``size`` bytes of ``fd`` at a multiple of ``unit`` in the region, when the driver is ready.

        Before the guest's driver has set DRIVER_OK, SHMEM_MAP ends QEMU 11.1 by a segmentation fault.
        Returns the front-end and the offset, for `unmap`. ``OSError`` as `await_ready`; ENOSPC; EIO: refused.
        """
        front = self.await_ready(timeout)
        offset = front.room(size, unit)
        if offset is None:
            raise OSError(errno.ENOSPC, f"the BAR of {self.size} bytes has no room for {size} more")
        self._ask(front, SHMEM_MAP, mapping(offset, size), fd, timeout)
        front.mapped[offset] = size
        return front, offset

    def unmap(self, front: Front, offset: int, timeout: float = 10.0) -> None:
        """Take a mapping back. Nothing where the driver or the VMM that had it is gone: so is the mapping."""
        if front is not self.front or not front.ready or offset not in front.mapped:
            return
        size = front.mapped.pop(offset)
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self._ask(front, SHMEM_UNMAP, mapping(offset, size, flags=0), None, timeout)

    def _ask(self, front: Front, request: int, payload: bytes, fd: int | None, timeout: float) -> None:
        import _socket

        name = "SHMEM_MAP" if request == SHMEM_MAP else "SHMEM_UNMAP"
        rights = [(SOL_SOCKET, SCM_RIGHTS, array("i", [fd]))] if fd is not None else []
        with self._changed:
            if front.requests is None:
                raise ConnectionResetError(errno.ECONNRESET, "the VMM is gone")
            channel = _socket.socket(AF_UNIX, SOCK_STREAM, 0, os.dup(front.requests))
        try:
            channel.settimeout(timeout)
            channel.sendmsg([message(request, payload, NEED_REPLY)], rights)
            header = _receive(channel, HEADER.size)
            (code,) = U64.unpack(_receive(channel, HEADER.unpack(header)[2]))
        except TimeoutError:
            raise TimeoutError(errno.ETIMEDOUT, f"the VMM does not answer {name}") from None
        finally:
            channel.close()
        if code:
            raise OSError(errno.EIO, f"the VMM refused {name} (code {code}; its log says why)")

    def _serve(self) -> None:
        import _socket

        while not self._closed:
            front = self.front
            if front is None:  # else one that was left
                try:
                    self._connection = _socket.socket(AF_UNIX, SOCK_STREAM, 0, self._listener._accept()[0])
                except OSError:  # closed
                    return
                front = Front(self.size)
                with self._changed:
                    self.front, self.error = front, ""
            try:
                while self._one(front):
                    pass
            except (OSError, struct.error) as error:
                self.error = f"({type(error).__name__}: {error})"
            finally:
                with self._changed:
                    self.front = None
                    if front.requests is not None:
                        os.close(front.requests)
                        front.requests = None
                    self._changed.notify_all()
                self._connection.close()

    def _one(self, front: Front) -> bool:
        """Receive one message and answer it; whether there was one."""
        fds = array("i")
        head, ancillary, _, _ = self._connection.recvmsg(
            HEADER.size, 32 + FDS * fds.itemsize, MSG_CMSG_CLOEXEC
        )
        for level, kind, data in ancillary:
            if (level, kind) == (SOL_SOCKET, SCM_RIGHTS):
                fds.frombytes(data[: len(data) - len(data) % fds.itemsize])
        got = list(fds)
        try:
            if not head:
                return False
            head += _receive(self._connection, HEADER.size - len(head))
            request, flags, size = HEADER.unpack(head)
            payload = _receive(self._connection, size)
            with self._changed:
                reply = front.answer(request, payload, got)
                self._changed.notify_all()
            if reply is None and flags & NEED_REPLY:
                reply = U64.pack(0)
            if reply is not None:
                self._connection.sendall(message(request, reply, REPLY))
            return True
        finally:
            for fd in got:
                os.close(fd)

    def close(self) -> None:
        """End the thread and remove the socket; closing twice does nothing."""
        if self._closed:
            return
        self._closed = True
        for socket in (self._listener, self._connection):
            if socket is not None:
                with contextlib.suppress(OSError):  # it has ended already
                    socket.shutdown(SHUT_RDWR)  # wakes the thread; close alone would not
        self._thread.join(5)
        self._listener.close()
        if os.path.lexists(self.path):
            os.unlink(self.path)


def _listener(path: str) -> Any:
    import _socket

    if os.path.lexists(path):
        os.unlink(path)
    made = _socket.socket(AF_UNIX, SOCK_STREAM)
    try:
        made.bind(path)
        made.listen(1)
    except BaseException:
        made.close()
        raise
    return made


def _receive(socket: Any, size: int) -> bytes:
    """Return exactly ``size`` bytes; ``OSError`` ECONNRESET where they end before."""
    data = b""
    while len(data) < size:
        more = socket.recv(size - len(data))
        if not more:
            raise OSError(errno.ECONNRESET, "the VMM closed the connection in the midst of a message")
        data += more
    return data
