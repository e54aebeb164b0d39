"""An HTTP server that serves one file, or fails to in one of the ways in which servers do."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

KINDS = ("refused", "missing", "truncated", "stalled", "slow", "other")


def _serve(kind: str, connection: socket.socket, body: bytes, over: threading.Event) -> None:
    with connection:
        connection.recv(65536)
        if kind == "missing":
            connection.sendall(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            return
        head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        connection.sendall(head.encode())
        if kind == "other":
            connection.sendall(body)
            return
        connection.sendall(body[: len(body) // 2])
        while kind in ("stalled", "slow") and not over.wait(0.5):
            if kind == "slow":
                try:
                    connection.sendall(b"x")
                except OSError:  # the board was switched off
                    return


@contextmanager
def server(kind: str, body: bytes, folder: Path) -> Iterator[dict[str, str]]:
    """The arguments of an HTTPProvider whose server, on a port of loopback, is as ``kind`` says."""
    over = threading.Event()
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
        if kind != "refused":  # bound and not listening: refuses
            listener.listen()

            def accept() -> None:
                while True:
                    try:
                        connection, _ = listener.accept()
                    except OSError:
                        return
                    threading.Thread(target=_serve, args=(kind, connection, body, over), daemon=True).start()

            threading.Thread(target=accept, daemon=True).start()
        try:
            yield {"internal": f"{folder}/", "external": f"http://10.0.2.2:{port}/"}
        finally:
            over.set()
            if kind != "refused":
                listener.shutdown(socket.SHUT_RDWR)
