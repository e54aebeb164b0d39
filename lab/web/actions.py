"""What can be done, by whoever showed the token: sign in and out, reserve, release, power."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import FormData
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from lab.base.errors import SharelabError
from lab.web.access import COOKIE, HOURS, own_page

if TYPE_CHECKING:
    from lab.web.pages import Pages

WRONG_TOKEN = 1.0
"""Seconds that the answer to a wrong token takes."""

SEE_OTHER = 303

Deed = Callable[[str, str, FormData], str]


def actions(pages: Pages) -> list[Route]:
    """The routes of everything that changes something."""

    async def sign_in(request: Request) -> Response:
        if not pages.access.possible:
            raise HTTPException(403, "This page only shows: it was started without a token.")
        if request.method == "GET":
            return pages.views.page("sign-in.html.j2", request, problem="")
        _require_own_page(request)
        form = await request.form()
        secret = pages.access.sign_in(_text(form, "name"), _text(form, "token"))
        if secret is None:
            await asyncio.sleep(WRONG_TOKEN)
            return pages.views.page(
                "sign-in.html.j2",
                request,
                status=403,
                problem="That is not the token, or the name has other signs than letters, digits and . _ + -",
            )
        answer = RedirectResponse("/", SEE_OTHER)
        secure = request.url.scheme == "https"
        answer.set_cookie(
            COOKIE, secret, max_age=int(HOURS * 3600), httponly=True, samesite="strict", secure=secure
        )
        return answer

    async def sign_out(request: Request) -> Response:
        _require_own_page(request)
        pages.access.sign_out(request)
        answer = RedirectResponse("/", SEE_OTHER)
        answer.delete_cookie(COOKIE)
        return answer

    def deed(do: Deed) -> Callable[[Request], Awaitable[Response]]:
        async def answer(request: Request) -> Response:
            person = pages.access.person(request)
            if person is None:
                raise HTTPException(403, "Sign in with the token to change something.")
            _require_own_page(request)
            form = await request.form()
            name = request.path_params["name"]
            try:
                said, status = await run_in_threadpool(do, person, name, form), 200
            except SharelabError as error:
                said, status = str(error), 409
            return pages.views.page("done.html.j2", request, status=status, said=said, good=status == 200)

        return answer

    boards = pages.boards

    def reserve(person: str, name: str, form: FormData) -> str:
        return boards.reserve(name, person, _text(form, "for") or "1h", _text(form, "reason"))

    def release(_: str, name: str, __: FormData) -> str:
        return boards.release(name)

    def power(_: str, name: str, form: FormData) -> str:
        return boards.power(name, _text(form, "action"))

    return [
        Route("/sign-in", sign_in, methods=["GET", "POST"]),
        Route("/sign-out", sign_out, methods=["POST"]),
        Route("/boards/{name}/reserve", deed(reserve), methods=["POST"]),
        Route("/boards/{name}/release", deed(release), methods=["POST"]),
        Route("/boards/{name}/power", deed(power), methods=["POST"]),
    ]


def _require_own_page(request: Request) -> None:
    if not own_page(request):
        raise HTTPException(403, "The form came from another site.")


def _text(form: FormData, name: str) -> str:
    value = form.get(name, "")
    return value.strip() if isinstance(value, str) else ""
