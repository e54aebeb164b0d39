"""An outlet that answers as it should, and has no relay."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@contextmanager
def outlet(*, echoes: bool) -> Iterator[str]:
    """Its URL, for NetworkPowerPort model rest. ``echoes``: it says what it was told; else off."""
    state = b"0"

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._answer()

        def do_PUT(self) -> None:
            nonlocal state
            body = self.rfile.read(int(self.headers["Content-Length"]))
            state = body if echoes else state
            self._answer()

        def _answer(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(state)))
            self.end_headers()
            self.wfile.write(state)

        def log_message(self, *_: object) -> None:
            """Nobody reads it."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/board"
        finally:
            server.shutdown()
