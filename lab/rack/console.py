"""A board's serial console: a TCP port that outlives every power cycle, and a log of all bytes.

Any number of clients may be connected. Each gets everything that the board writes from then on;
what any of them writes goes to the board, or nowhere while the board is off, as on a real cable.
So a person can look on while labgrid's SerialDriver drives, and a client that died without
closing its connection is in nobody's way.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import Callable
from pathlib import Path

CHUNK = 65536

PAUSE = 0.004
"""Seconds between two looks at what the board writes.

QEMU's UART gives single bytes; each would wake all who listen, while the board boots on the same cores.
A byte that nothing came before is not delayed.
"""

BEHIND = 16 << 20
"""Bytes that a client may leave unread before it is cut off; a boot writes some 50 kB."""


class Console:
    """One board's console. All methods run in the event loop."""

    def __init__(self, log: Path, event: Callable[[str], None]) -> None:
        """``log`` gets every byte; ``event`` is told what a person should know."""
        self._log = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self._event = event
        self._clients: dict[asyncio.StreamWriter, asyncio.Task[None]] = {}
        self._board: socket.socket | None = None
        self._typing = asyncio.Lock()
        """Two who wrote to one socket at once would be in each other's way: asyncio has one waiter for it."""
        self._sending: asyncio.Task[None] | None = None
        self._server: asyncio.Server | None = None

    async def listen(self, listener: socket.socket) -> None:
        """Serve clients on ``listener``, a bound socket."""
        self._server = await asyncio.start_server(self._serve, sock=listener)

    def plug(self, board: socket.socket) -> None:
        """The board is on: ``board`` is our end of its UART."""
        self.unplug()
        board.setblocking(False)
        self._board = board
        asyncio.get_running_loop().add_reader(board, self._readable, board)

    def unplug(self) -> None:
        """The board is off. What it had written until then is still forwarded."""
        board, self._board = self._board, None
        if board is None:
            return
        loop = asyncio.get_running_loop()
        loop.remove_reader(board)
        if self._sending is not None:  # the board did not read it, and never will
            self._sending.cancel()
            loop.remove_writer(board)
        while self._forward(board):
            pass
        board.close()

    async def close(self) -> None:
        """End the server and all connections."""
        self.unplug()
        if self._server is not None:
            self._server.close()
        tasks = list(self._clients.values())
        for client in self._clients:
            client.transport.abort()
        await asyncio.gather(*tasks, return_exceptions=True)
        os.close(self._log)

    def _readable(self, board: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        loop.remove_reader(board)
        if self._forward(board):
            loop.call_later(PAUSE, self._look_again, board)

    def _look_again(self, board: socket.socket) -> None:
        if board is self._board:
            asyncio.get_running_loop().add_reader(board, self._readable, board)

    def _forward(self, board: socket.socket) -> bool:
        """Hand on what is there. False at the end of file and when nothing is there."""
        try:
            data = board.recv(CHUNK)
        except OSError:
            return False
        if not data:
            return False
        try:
            os.write(self._log, data)
        except OSError as error:
            self._event(f"console: {len(data)} bytes are not in the log: {error.strerror}")
        for client in tuple(self._clients):
            client.write(data)
            if client.transport.get_write_buffer_size() > BEHIND:
                self._event(f"console: a client left {BEHIND >> 20} MiB unread and was cut off")
                client.transport.abort()
        return True

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._clients[writer] = task
        try:
            while data := await reader.read(CHUNK):
                await self._write(data)
        except OSError:
            pass  # the client is gone, which is no event
        finally:
            del self._clients[writer]
            with contextlib.suppress(OSError):
                writer.close()

    async def _write(self, data: bytes) -> None:
        """To the board, at the speed at which it takes it; dropped when the board is or goes off."""
        async with self._typing:
            board = self._board
            if board is None:
                return
            sending = asyncio.get_running_loop().sock_sendall(board, data)
            self._sending = asyncio.ensure_future(sending)
            try:
                await asyncio.wait({self._sending})
                if not self._sending.cancelled():
                    self._sending.exception()  # of a board that is gone: what was typed is lost
            finally:
                self._sending.cancel()
                self._sending = None
