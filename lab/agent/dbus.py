"""The little of D-Bus that talking to one peer takes: login, messages of known types, file descriptors.

Format and login: the D-Bus Specification, "Message Protocol" and "Authentication Protocol". Little endian.
"""

from __future__ import annotations

import os
import struct
from array import array

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

CALL, RETURN, ERROR = 1, 2, 3
NO_REPLY = 1
PATH, INTERFACE, MEMBER, REPLY_SERIAL, SIGNATURE, UNIX_FDS = 1, 2, 3, 5, 8, 9
_KINDS = {PATH: "o", INTERFACE: "s", MEMBER: "s", REPLY_SERIAL: "u", SIGNATURE: "g", UNIX_FDS: "u"}
SOL_SOCKET, SCM_RIGHTS = 1, 1
ROOM = 1 << 16
MOST_FDS = 16


class Message:
    """One message. ``fields``: header fields by number; ``fds``: descriptors that came along."""

    def __init__(self, kind: int, flags: int, serial: int, fields: dict[int, Any], body: bytes) -> None:
        self.kind = kind
        self.flags = flags
        self.serial = serial
        self.fields = fields
        self.body = body
        self.fds: list[int] = []

    @property
    def member(self) -> str:
        """The method or signal."""
        return str(self.fields.get(MEMBER, ""))

    def close(self) -> None:
        """Close the descriptors that nobody took out of ``fds``."""
        while self.fds:
            os.close(self.fds.pop())


def pack(kind: int, serial: int, fields: dict[int, Any], body: bytes = b"", flags: int = 0) -> bytes:
    """Return a message's bytes; ``fields`` need to be of the types that the specification gives them."""
    header = bytearray()
    for number, value in fields.items():
        header += bytes(-len(header) % 8)
        signature = _KINDS[number]
        header += bytes([number, 1]) + signature.encode() + b"\0"
        header += bytes(-len(header) % 4) if signature != "g" else b""
        if signature == "u":
            header += struct.pack("<I", value)
        else:
            text = value.encode()
            header += (
                (struct.pack("<I", len(text)) if signature != "g" else bytes([len(text)])) + text + b"\0"
            )
    start = struct.pack("<cBBBIII", b"l", kind, flags, 1, len(body), serial, len(header))
    return start + bytes(header) + bytes(-len(header) % 8) + body


def size_of(data: bytes) -> int | None:
    """Return the bytes of the message that ``data`` begins with; ``None`` if it is too short to tell."""
    if len(data) < 16:
        return None
    if data[:1] != b"l":
        raise ValueError("a D-Bus message that is not little endian")
    body, _, fields = struct.unpack_from("<III", data, 4)
    return int(16 + fields + -fields % 8 + body)


def unpack(data: bytes) -> Message:
    """Return the one message that ``data`` holds. Header fields of unknown numbers are left out."""
    _, kind, flags, _, length, serial, size = struct.unpack_from("<cBBBIII", data)
    fields: dict[int, Any] = {}
    at, end = 16, 16 + size
    while at < end:
        at += -at % 8
        number, signature = data[at], data[at + 2 : at + 3].decode()
        at += 4
        if signature == "g":
            count, at = data[at], at + 1
        else:
            at += -at % 4
            (count,) = struct.unpack_from("<I", data, at)
            at += 4
        if signature == "u":
            value: Any = count
        elif signature in ("s", "o", "g"):
            value = data[at : at + count].decode()
            at += count + 1
        else:
            raise ValueError(f"a D-Bus header field of type {signature!r}")
        if number in _KINDS:
            fields[number] = value
    return Message(kind, flags, serial, fields, data[len(data) - length :] if length else b"")


class Connection:
    """One peer on a socket (a ``_socket.socket``), logged in as this process's user."""

    def __init__(self, socket: Any) -> None:
        """Take the socket and log in; ``OSError`` EACCES where the peer refuses."""
        self._socket = socket
        self._pending = b""
        self._fds: list[int] = []
        self._serial = 0
        user = str(os.getuid()).encode().hex().encode()
        socket.sendall(b"\0AUTH EXTERNAL " + user + b"\r\n")
        self._said(b"OK")
        socket.sendall(b"NEGOTIATE_UNIX_FD\r\n")
        self._said(b"AGREE_UNIX_FD")
        socket.sendall(b"BEGIN\r\n")

    def _said(self, wanted: bytes) -> None:
        line = b""
        while not line.endswith(b"\r\n"):
            character = self._socket.recv(1)
            if not character:
                raise ConnectionResetError(104, "the D-Bus peer hung up during login")
            line += character
        if not line.startswith(wanted):
            raise PermissionError(13, f"the D-Bus peer wants another login: {line.strip().decode()}")

    def send(
        self, kind: int, fields: dict[int, Any], body: bytes = b"", fds: tuple[int, ...] = (), flags: int = 0
    ) -> int:
        """Send a message and return its serial number."""
        self._serial += 1
        if fds:
            fields = {**fields, UNIX_FDS: len(fds)}
        data = pack(kind, self._serial, fields, body, flags)
        rights = [(SOL_SOCKET, SCM_RIGHTS, array("i", fds).tobytes())] if fds else []
        sent = self._socket.sendmsg([data], rights)
        self._socket.sendall(data[sent:])
        return self._serial

    def receive(self) -> Message | None:
        """Return the next message, ``None`` when the peer has hung up; ``TimeoutError`` of the socket."""
        while (size := size_of(self._pending)) is None or len(self._pending) < size:
            room = 16 + 4 * MOST_FDS
            data, rights, _, _ = self._socket.recvmsg(ROOM, room)
            for level, kind, content in rights:
                if (level, kind) == (SOL_SOCKET, SCM_RIGHTS):
                    self._fds += array("i", content[: len(content) // 4 * 4])
            if not data:
                return None
            self._pending += data
        message = unpack(self._pending[:size])
        self._pending = self._pending[size:]
        count = message.fields.get(UNIX_FDS, 0)
        message.fds, self._fds = self._fds[:count], self._fds[count:]
        return message

    def call(self, path: str, interface: str, member: str, body: tuple[str, bytes], *fds: int) -> int:
        """Send a method call with ``body``: signature and marshalled arguments."""
        fields = {PATH: path, INTERFACE: interface, MEMBER: member, SIGNATURE: body[0]}
        return self.send(CALL, fields, body[1], fds)

    def answer(self, message: Message, body: tuple[str, bytes] = ("", b"")) -> None:
        """Return from a method call, unless its caller does not want to know."""
        if message.kind == CALL and not message.flags & NO_REPLY:
            fields: dict[int, Any] = {REPLY_SERIAL: message.serial}
            if body[0]:
                fields[SIGNATURE] = body[0]
            self.send(RETURN, fields, body[1])

    def serve(self, handle: Callable[[Message], tuple[str, bytes] | None]) -> None:
        """Answer calls until the peer hangs up; ``handle`` returns what to answer, or nothing."""
        while (message := self.receive()) is not None:
            try:
                body = handle(message)
            finally:
                message.close()
            self.answer(message, body or ("", b""))

    def close(self) -> None:
        """Hang up."""
        while self._fds:
            os.close(self._fds.pop())
        self._socket.close()
