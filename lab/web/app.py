"""The web application: which address shows what, and what every answer has in common."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lab.base.errors import ConfigError, SharelabError
from lab.web.access import Access
from lab.web.actions import actions
from lab.web.boards import Boards
from lab.web.live import Running
from lab.web.pages import Pages
from lab.web.runs import KeptStore, Runs
from lab.web.views import Views

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:;"
    " connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
"""Scripts come from our files only: whatever a log brings along stays text."""

HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cache-control": "no-store",
}

FORM_BYTES = 16_000


@dataclass(frozen=True)
class Settings:
    """``store``: a file or a URL; ``results``: the folder of runs; ``coordinator``: the lab's address.

    ``token``: who knows it may reserve, release and switch boards; empty: nobody may.
    """

    store: Path | str
    results: Path
    coordinator: str
    token: str = ""


def make_app(settings: Settings) -> Starlette:
    """The application. Nothing is opened before it is started."""
    store = KeptStore(settings.store)
    running = Running(settings.results)
    boards = Boards(settings.coordinator)
    access = Access(settings.token)
    views = Views()
    pages = Pages(Runs(store, running), boards, access, views)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        yield
        await pages.close()
        boards.close()
        store.close()

    return Starlette(
        routes=[
            Route("/", pages.home),
            Route("/live", pages.live),
            Route("/runs", pages.runs),
            Route("/matrix", pages.matrix),
            Route("/compare", pages.compare),
            Route("/runs/{run}", pages.run),
            Route("/runs/{run}/cell", pages.cell),
            Route("/runs/{run}/trends", pages.trends),
            Route("/runs/{run}/live", pages.run_live),
            *actions(pages),
            Route("/static/style.css", pages.style),
            Route("/static/page.js", pages.script),
            Mount("/static", StaticFiles(packages=[("lab.web", "static")])),
        ],
        middleware=[Middleware(Guard), Middleware(GZipMiddleware, minimum_size=2000)],
        exception_handlers={
            ConfigError: _problem(views, 404),
            SharelabError: _problem(views, 503),
            HTTPException: _http_problem(views),
        },
        lifespan=lifespan,
    )


class Guard:
    """Puts `HEADERS` on every answer, and refuses bodies that no form of ours could have."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        length = 0

        async def bounded() -> Message:
            nonlocal length
            message = await receive()
            length += len(message.get("body", b""))
            if length > FORM_BYTES:
                raise HTTPException(413)
            return message

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                present = {name for name, _ in message["headers"]}
                message["headers"] += [
                    (name.encode(), value.encode())
                    for name, value in HEADERS.items()
                    if name.encode() not in present
                ]
            await send(message)

        await self._app(scope, bounded, with_headers)


Handler = Callable[[Request, Exception], Awaitable[Response]]


def _problem(views: Views, status: int) -> Handler:
    async def answer(request: Request, error: Exception) -> Response:
        return views.page(
            "problem.html.j2", request, status=status, title="That did not work", text=str(error)
        )

    return answer


def _http_problem(views: Views) -> Handler:
    async def answer(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        return views.page(
            "problem.html.j2", request, status=error.status_code, title=str(error.detail), text=""
        )

    return answer
