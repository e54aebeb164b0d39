"""D-Bus: what is packed is what the specification says, and what one end sends the other receives."""

from __future__ import annotations

import os
import socket
import threading

from hypothesis import given
from hypothesis import strategies as st

from lab.agent import dbus

# The call that every client of a bus begins with
HELLO = (
    b"l\x01\x00\x01\x00\x00\x00\x00\x01\x00\x00\x00\x6d\x00\x00\x00"
    b"\x01\x01o\x00\x15\x00\x00\x00/org/freedesktop/DBus\x00\x00\x00"
    b"\x03\x01s\x00\x05\x00\x00\x00Hello\x00\x00\x00"
    b"\x02\x01s\x00\x14\x00\x00\x00org.freedesktop.DBus\x00\x00\x00\x00"
    b"\x06\x01s\x00\x14\x00\x00\x00org.freedesktop.DBus\x00\x00\x00\x00"
)


def test_message_with_fields_of_every_kind():
    assert dbus.size_of(HELLO) == len(HELLO)
    message = dbus.unpack(HELLO)
    assert (message.kind, message.serial, message.member, message.body) == (dbus.CALL, 1, "Hello", b"")
    assert message.fields[dbus.INTERFACE] == "org.freedesktop.DBus"


@given(
    st.text("abcdefgh_", min_size=1, max_size=20),
    st.binary(max_size=40),
    st.integers(1, 2**32 - 1),
    st.integers(0, 9),
)
def test_what_is_packed_is_unpacked(member, body, serial, fds):
    fields = {dbus.PATH: f"/{member}", dbus.MEMBER: member, dbus.SIGNATURE: "ay", dbus.UNIX_FDS: fds}
    data = dbus.pack(dbus.CALL, serial, fields, body)
    assert dbus.size_of(data) == len(data)
    message = dbus.unpack(data)
    assert (message.kind, message.serial, message.fields, message.body) == (1, serial, fields, body)


def test_call_with_a_descriptor_is_answered():
    ours, theirs = socket.socketpair()
    got = []

    def peer() -> None:
        """The server's side of the login, then one call and its answer."""
        said = b""
        for wanted, answer in (
            (b"\r\n", b"OK 00\r\n"),
            (b"FD\r\n", b"AGREE_UNIX_FD\r\n"),
            (b"BEGIN\r\n", b""),
        ):
            while not said.endswith(wanted):
                said += theirs.recv(1)
            theirs.sendall(answer)
        data, fds, _, _ = socket.recv_fds(theirs, 4096, 4)
        message = dbus.unpack(data)
        got.extend([said, os.read(fds[0], 5)])
        os.close(fds[0])
        theirs.sendall(dbus.pack(dbus.RETURN, 7, {dbus.REPLY_SERIAL: message.serial}))

    thread = threading.Thread(target=peer)
    thread.start()
    ours.settimeout(5)
    connection = dbus.Connection(ours)
    reader, writer = os.pipe()
    os.write(writer, b"words")
    serial = connection.call("/a", "b.c", "D", ("h", bytes(4)), reader)
    answer = connection.receive()
    thread.join()
    for fd in (reader, writer):
        os.close(fd)
    assert answer is not None
    assert (answer.kind, answer.fields) == (dbus.RETURN, {dbus.REPLY_SERIAL: serial})
    assert got == [
        f"\0AUTH EXTERNAL {str(os.getuid()).encode().hex()}\r\nNEGOTIATE_UNIX_FD\r\nBEGIN\r\n".encode(),
        b"words",
    ]
    theirs.close()
    assert connection.receive() is None
    connection.close()
