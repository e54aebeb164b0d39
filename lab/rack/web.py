"""A small HTTP/1.1 server on asyncio: one request a connection, for clients on the same machine."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import traceback
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path

HEAD_LIMIT = 16384
BODY_LIMIT = 65536
REQUEST_TIMEOUT = 10.0


@dataclass(frozen=True)
class Answer:
    """``reason`` replaces the status's standard phrase: clients that drop the body still show it."""

    status: HTTPStatus
    body: str = ""
    reason: str = ""
    kind: str = "text/plain; charset=utf-8"
    file: Path | None = None
    """Sent in the place of ``body``."""


Handler = Callable[[str, str, bytes], Awaitable[Answer]]
"""(method, path, body) -> Answer"""


class BadRequest(Exception):  # noqa: N818 - the protocol's own word
    """What came is not a request that this server understands."""


async def serve(listener: socket.socket, handler: Handler) -> asyncio.Server:
    """Answer requests on ``listener``, a bound socket, until the server is closed."""

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            try:
                request = await asyncio.wait_for(_read(reader), REQUEST_TIMEOUT)
                answer = await _answer(handler, request)
            except (BadRequest, asyncio.IncompleteReadError, asyncio.LimitOverrunError) as error:
                answer = Answer(HTTPStatus.BAD_REQUEST, f"{error}\n")
            except TimeoutError:
                answer = Answer(HTTPStatus.REQUEST_TIMEOUT)
            try:
                await _send(writer, answer)
            finally:  # whoever waits for more than came is told that there is no more
                writer.close()
            await writer.wait_closed()

    return await asyncio.start_server(connected, sock=listener, limit=HEAD_LIMIT)


async def _answer(handler: Handler, request: tuple[str, str, bytes]) -> Answer:
    try:
        return await handler(*request)
    except Exception as error:
        traceback.print_exc()
        return Answer(HTTPStatus.INTERNAL_SERVER_ERROR, f"{error!r}\n", repr(error))


async def _read(reader: asyncio.StreamReader) -> tuple[str, str, bytes]:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    first, *lines = head.rstrip("\r\n").split("\r\n")
    try:
        method, path, _version = first.split(" ")
        headers = {name.strip().lower(): value.strip() for name, value in (ln.split(":", 1) for ln in lines)}
        length = int(headers.get("content-length", "0"))
    except ValueError:
        raise BadRequest("not an HTTP request") from None
    if not 0 <= length <= BODY_LIMIT or "transfer-encoding" in headers:
        raise BadRequest(f"a body needs a Content-Length of at most {BODY_LIMIT}")
    return method, path, await reader.readexactly(length)


async def _send(writer: asyncio.StreamWriter, answer: Answer) -> None:
    if answer.file is None:
        writer.write(_encode(answer))
        await writer.drain()
        return
    try:
        file = answer.file.open("rb")
    except OSError as error:  # it was there when it was looked for
        await _send(writer, Answer(HTTPStatus.NOT_FOUND, f"{error.strerror}\n"))
        return
    with file:
        writer.write(_head(answer, os.fstat(file.fileno()).st_size, "application/octet-stream"))
        await asyncio.get_running_loop().sendfile(writer.transport, file)


def _encode(answer: Answer) -> bytes:
    body = answer.body.encode()
    return _head(answer, len(body), answer.kind) + body


def _head(answer: Answer, length: int, kind: str) -> bytes:
    reason = "".join(c if " " <= c <= "~" else " " for c in answer.reason or answer.status.phrase)
    head = (
        f"HTTP/1.1 {answer.status.value} {reason}\r\nContent-Type: {kind}\r\n"
        f"Content-Length: {length}\r\nConnection: close\r\n\r\n"
    )
    return head.encode("latin-1")
