"""Who may change something: whoever knows the token that the server was started with.

A browser trades the token for a cookie that scripts cannot read and other sites cannot make it send;
programs send the token itself (``Authorization: Bearer TOKEN``). Without a token nothing can be changed.
"""

from __future__ import annotations

import hmac
import re
import secrets
import time
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from starlette.requests import Request

COOKIE = "lab-session"
HOURS = 12.0
_MOST = 1000  # sessions; the oldest goes
_NAME = re.compile(r"[\w.+-]{1,32}")


@dataclass
class Access:
    """``token``: empty where nobody may change anything."""

    token: str = ""
    _sessions: dict[str, tuple[str, float]] = field(default_factory=dict)

    @property
    def possible(self) -> bool:
        """Whether anybody can sign in at all."""
        return bool(self.token)

    def sign_in(self, name: str, token: str) -> str | None:
        """The cookie's value for the person ``name``; None where the token is wrong or the name is none."""
        if not self._right(token) or not _NAME.fullmatch(name):
            return None
        secret = secrets.token_urlsafe(32)
        while len(self._sessions) >= _MOST:
            self._sessions.pop(next(iter(self._sessions)))
        self._sessions[secret] = (name, time.monotonic() + HOURS * 3600)
        return secret

    def sign_out(self, request: Request) -> None:
        """Forget the session of whoever asks."""
        self._sessions.pop(request.cookies.get(COOKIE, ""), None)

    def person(self, request: Request) -> str | None:
        """Who asks, where he has shown the token; None: somebody who may only look."""
        if not self.possible:
            return None
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer" and self._right(given.strip()):
            return "token"
        name, until = self._sessions.get(request.cookies.get(COOKIE, ""), ("", 0.0))
        return name if name and time.monotonic() < until else None

    def _right(self, token: str) -> bool:
        return self.possible and hmac.compare_digest(token.encode(), self.token.encode())


def own_page(request: Request) -> bool:
    """Whether a form was sent by a page of ours: browsers name the sender's origin and nobody can forge it.

    A program that sends the token itself has no page.
    """
    origin = request.headers.get("origin")
    if origin is None:
        return "authorization" in request.headers
    return urlsplit(origin).netloc == request.headers.get("host")
