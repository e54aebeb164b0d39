"""What can be looked at."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from functools import partial
from typing import Any
from urllib.parse import quote, urlencode

from sse_starlette import EventSourceResponse, ServerSentEvent
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from lab.base.errors import SharelabError
from lab.results.compare.columns import DIMENSIONS
from lab.results.model import Result
from lab.results.outcome import Outcome
from lab.results.page import script
from lab.results.runpage import RunPage, run_page
from lab.web.access import Access
from lab.web.boards import Boards
from lab.web.compare import MODES, compared
from lab.web.feed import PAUSE, Feed
from lab.web.live import console, run_now
from lab.web.runs import Runs, key_of
from lab.web.views import Views

RUNS_ON_HOME = 8
RUNS_ON_LIST = 50
PING = 15  # seconds; proxies drop connections that are silent for long


class Pages:
    """Handlers of GET requests. Whatever reads a file or the lab does it in a thread."""

    def __init__(self, runs: Runs, boards: Boards, access: Access, views: Views) -> None:
        self.boards = boards
        self.access = access
        self.views = views
        views.access = access
        self._runs = runs
        self._feed = Feed(self._look)

    async def close(self) -> None:
        """Stop what moves."""
        await self._feed.close()

    async def home(self, request: Request) -> Response:
        """Boards, queue, what runs, and the newest runs."""
        lab, running, listed = await run_in_threadpool(
            lambda: (self.boards.view(), self._runs.running.runs(), self._lines(RUNS_ON_HOME))
        )
        return self.views.page("home.html.j2", request, lab=lab, running=running, **listed)

    async def live(self, request: Request) -> Response:
        """The stream of what moves on the home page."""
        kind = "change" if self.access.person(request) else "look"

        async def events() -> AsyncIterator[ServerSentEvent]:
            async for name, text in self._feed.watch():
                part, _, who = name.partition(":")
                if who in ("", kind):
                    yield ServerSentEvent(text, event=part)

        return EventSourceResponse(events(), ping=PING)

    def _look(self) -> dict[str, str]:
        lab, running = self.boards.view(), self._runs.running.runs()
        made = partial(self.views.part, "parts/boards.html.j2", lab=lab)
        return {
            "boards:look": made(person=None),
            "boards:change": made(person="somebody"),
            "running": self.views.part("parts/running.html.j2", running=running),
            "lines": self.views.part("parts/lines.html.j2", **self._lines(RUNS_ON_HOME)),
        }

    def _lines(self, limit: int) -> dict[str, Any]:
        """The newest runs, or why there are none."""
        try:
            return {"lines": self._runs.lines(limit), "problem": ""}
        except SharelabError as error:
            return {"lines": [], "problem": str(error)}

    async def runs(self, request: Request) -> Response:
        """The list of runs."""
        listed = await run_in_threadpool(self._lines, RUNS_ON_LIST)
        return self.views.page("runs.html.j2", request, **listed)

    async def run(self, request: Request) -> Response:
        """One run: the report, with evidence that is fetched when it is looked at."""
        return await run_in_threadpool(self._run, request)

    def _run(self, request: Request) -> Response:
        outcome, now, stored = self._runs.outcome(request.path_params["run"])
        name = outcome.run.id if outcome.run else request.path_params["run"]
        page = _page(name, outcome, ended=now is None)
        trends = f"{_address(name)}/trends" if stored else ""
        return self.views.page("run.html.j2", request, page=page, name=name, now=now, trends=trends)

    def _so_far(self, name: str) -> str:
        outcome, _, _ = self._runs.outcome(name)
        return self.views.part("parts/sofar.html.j2", page=_page(name, outcome, ended=False))

    async def matrix(self, request: Request) -> Response:
        """The newest result of every cell, of all boards."""
        return await run_in_threadpool(self._matrix, request)

    def _matrix(self, request: Request) -> Response:
        page = run_page(self._runs.newest(), source=lambda cell: _source(cell.run, cell))
        return self.views.page("matrix.html.j2", request, page=page)

    async def compare(self, request: Request) -> Response:
        """What was measured of several things, side by side."""
        asked = await run_in_threadpool(lambda: compared(self._runs.store(), request.query_params))
        status = 400 if asked.problem else 200
        return self.views.page(
            "compare.html.j2", request, status=status, asked=asked, dimensions=DIMENSIONS, modes=MODES
        )

    async def cell(self, request: Request) -> Response:
        """The evidence of one cell: a piece for the run's page, or a page of its own."""
        asked = request.query_params
        key = key_of(asked.get("target", ""), asked.get("iommu", ""), asked.get("test", ""))
        item = await run_in_threadpool(self._runs.cell, request.path_params["run"], key)
        if request.headers.get("sec-fetch-dest") == "empty":
            return HTMLResponse(self.views.part("parts/cell.html.j2", item=item))
        return self.views.page("cell.html.j2", request, item=item, run=request.path_params["run"])

    async def trends(self, request: Request) -> Response:
        """What came of the run's cells before: a piece for its page."""
        run = request.path_params["run"]
        found = await run_in_threadpool(self._runs.trends, run)
        return HTMLResponse(
            self.views.part("parts/trends.html.j2", trends=found, anchors={}, base=f"/runs/{run}")
        )

    async def run_live(self, request: Request) -> Response:
        """The stream of a run that goes on: progress, what was measured, what its boards' consoles say."""
        name = request.path_params["run"]
        folder = self._runs.running.folder(name)

        async def events() -> AsyncIterator[ServerSentEvent]:
            at: dict[str, int] = {}
            told = ""
            measured = 0
            while folder is not None:
                now = await run_in_threadpool(run_now, folder)
                if now is None:
                    break
                text = self.views.part("parts/progress.html.j2", now=now)
                if text != told:
                    told = text
                    yield ServerSentEvent(text, event="progress")
                if (size := folder.log.stat().st_size) != measured:
                    measured = size
                    yield ServerSentEvent(await run_in_threadpool(self._so_far, name), event="sofar")
                for board in now.boards:
                    more, at[board.target] = await run_in_threadpool(
                        console, folder, board.target, at.get(board.target, 0)
                    )
                    if more:
                        yield ServerSentEvent(
                            json.dumps({"board": board.target, "text": more}), event="console"
                        )
                await asyncio.sleep(PAUSE)
            yield ServerSentEvent("over", event="over")

        return EventSourceResponse(events(), ping=PING)

    async def style(self, _: Request) -> Response:
        """The stylesheet of the report and of these pages."""
        return Response(self.views.part("live.css.j2"), media_type="text/css", headers=CACHED)

    async def script(self, _: Request) -> Response:
        """The report's script."""
        return Response(str(script()), media_type="text/javascript", headers=CACHED)


CACHED = {"cache-control": "max-age=300"}


def _page(run: str, outcome: Outcome, *, ended: bool) -> RunPage:
    return run_page(outcome, source=partial(_source, run), ended=ended)


def _address(run: str) -> str:
    return f"/runs/{quote(run)}"


def _source(run: str, cell: Result) -> str:
    """The address of a cell's evidence."""
    values: dict[str, Any] = {"target": cell.target, "iommu": str(cell.iommu_asked), "test": cell.test}
    return f"{_address(run)}/cell?{urlencode(values)}"
