"""The console server between plain sockets: one end plays the wire to the board."""

from __future__ import annotations

import asyncio
import select
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from lab.rack.board import listener
from lab.rack.console import BEHIND, Console


@asynccontextmanager
async def console(log: Path, events: list[str]) -> AsyncIterator[tuple[Console, int]]:
    bound = listener(0)
    port = bound.getsockname()[1]
    served = Console(log, events.append)
    await served.listen(bound)
    try:
        yield served, port
    finally:
        await served.close()


def run(coroutine: object) -> None:
    asyncio.run(asyncio.wait_for(coroutine, 20))  # type: ignore[arg-type]


async def until(reader: asyncio.StreamReader, data: bytes) -> None:
    assert await reader.readexactly(len(data)) == data


def test_every_client_hears_the_board_and_the_log_has_what_nobody_heard(tmp_path: Path) -> None:
    async def body() -> None:
        async with console(tmp_path / "log", []) as (served, port):
            ours, board = socket.socketpair()
            served.plug(ours)
            board.sendall(b"early ")
            while not (tmp_path / "log").read_bytes():
                await asyncio.sleep(0.01)
            one, write_one = await asyncio.open_connection("127.0.0.1", port)
            two, write_two = await asyncio.open_connection("127.0.0.1", port)
            board.setblocking(False)
            for writer, word in ((write_one, b"first"), (write_two, b"second")):
                writer.write(word)
                assert await asyncio.get_running_loop().sock_recv(board, 100) == word
            board.sendall(b"hello")
            await until(one, b"hello")
            await until(two, b"hello")
            write_one.transport.abort()
            board.sendall(b" again")
            await until(two, b" again")
            assert (tmp_path / "log").read_bytes() == b"early hello again"

    run(body())


def test_a_client_stays_connected_while_the_power_is_off(tmp_path: Path) -> None:
    async def body() -> None:
        async with console(tmp_path / "log", []) as (served, port):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            for cycle in (b"one", b"two"):
                ours, board = socket.socketpair()
                served.plug(ours)
                board.sendall(cycle)
                served.unplug()  # what the board had written by then must not be lost
                await until(reader, cycle)
                writer.write(b"typed while off")
                await asyncio.sleep(0.05)
            ours, board = socket.socketpair()
            served.plug(ours)
            writer.write(b"typed while on")
            board.setblocking(False)
            assert await asyncio.get_running_loop().sock_recv(board, 100) == b"typed while on"

    run(body())


def test_a_client_that_never_reads_is_cut_off_and_the_others_stay(tmp_path: Path) -> None:
    async def body() -> None:
        events: list[str] = []
        async with console(tmp_path / "log", events) as (served, port):
            ours, board = socket.socketpair()
            served.plug(ours)
            _deaf, deaf_writer = await asyncio.open_connection("127.0.0.1", port, limit=1024)
            reader, _writer = await asyncio.open_connection("127.0.0.1", port)
            await asyncio.sleep(0.05)
            board.setblocking(False)
            sent = 0
            while not events:
                await asyncio.get_running_loop().sock_sendall(board, bytes(65536))
                sent += 65536
                await reader.readexactly(65536)
                assert sent < 4 * BEHIND
            await asyncio.get_running_loop().sock_sendall(board, b"end")
            await until(reader, b"end")
            assert "cut off" in events[0]
            deaf_writer.transport.abort()

    run(body())


def test_two_who_type_at_a_board_that_does_not_read_go_on_after_its_power_cycle(tmp_path: Path) -> None:
    async def body() -> None:
        async with console(tmp_path / "log", []) as (served, port):
            ours, deaf = socket.socketpair()
            served.plug(ours)
            writers = [(await asyncio.open_connection("127.0.0.1", port))[1] for _ in range(2)]
            for writer in writers:
                writer.write(bytes(1 << 20))
            while select.select([], [ours], [], 0)[1]:  # until no more gets in
                await asyncio.sleep(0.01)
            served.unplug()
            deaf.close()
            ours, board = socket.socketpair()
            board.setblocking(False)
            served.plug(ours)
            loop = asyncio.get_running_loop()
            for writer, word in zip(writers, (b"first", b"second"), strict=True):
                writer.write(word)
                heard = b""
                while not heard.endswith(word):
                    heard += await loop.sock_recv(board, 1 << 20)
            board.sendall(b"up")

    run(body())
