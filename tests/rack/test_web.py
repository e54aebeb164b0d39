from __future__ import annotations

import asyncio
from http import HTTPStatus
from pathlib import Path

import pytest

from lab.rack.board import listener
from lab.rack.web import Answer, Handler, serve


async def echo(method: str, path: str, body: bytes) -> Answer:
    """What was understood."""
    if path == "/broken":
        raise RuntimeError("two\r\nlines")
    return Answer(HTTPStatus.OK, f"{method} {path} {body!r}")


def talk(request: bytes, handler: Handler = echo) -> str:
    """The answer of a server with that handler."""

    async def body() -> bytes:
        bound = listener(0)
        server = await serve(bound, handler)
        reader, writer = await asyncio.open_connection(*bound.getsockname())
        writer.write(request)
        writer.write_eof()
        answer = await reader.read()
        writer.close()
        server.close()
        return answer

    return asyncio.run(asyncio.wait_for(body(), 10)).decode()


def test_a_request_arrives_whole() -> None:
    answer = talk(b"PUT /x HTTP/1.1\r\nHost: a\r\ncontent-length: 3\r\n\r\nabc")
    assert answer.startswith("HTTP/1.1 200 OK\r\n")
    assert answer.endswith("PUT /x b'abc'")


@pytest.mark.parametrize(
    "request_",
    [
        b"",
        b"hello\r\n\r\n",
        b"GET /\r\n\r\n",
        b"GET / HTTP/1.1\r\nno colon\r\n\r\n",
        b"PUT / HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        b"PUT / HTTP/1.1\r\nContent-Length: many\r\n\r\n",
        b"PUT / HTTP/1.1\r\nContent-Length: 99999999\r\n\r\n",
        b"PUT / HTTP/1.1\r\nContent-Length: 5\r\n\r\nabc",
        b"PUT / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"GET / HTTP/1.1\r\nX: " + b"x" * 20000 + b"\r\n\r\n",
    ],
)
def test_what_is_no_request_gets_400(request_: bytes) -> None:
    assert talk(request_).startswith("HTTP/1.1 400 ")


def test_an_error_of_the_handler_is_told_on_one_line(capfd: pytest.CaptureFixture[str]) -> None:
    head = talk(b"GET /broken HTTP/1.1\r\n\r\n").split("\r\n")
    assert head[0].startswith("HTTP/1.1 500 RuntimeError(")
    assert head[1].startswith("Content-Type")
    assert "Traceback" in capfd.readouterr().err


def test_a_file_that_is_gone_by_now_keeps_nobody_waiting() -> None:
    async def handler(method: str, path: str, body: bytes) -> Answer:
        return Answer(HTTPStatus.OK, file=Path("/nonexistent/file"))

    assert talk(b"GET /file HTTP/1.1\r\n\r\n", handler).startswith("HTTP/1.1 404 ")
