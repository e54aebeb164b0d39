"""Templates to answers."""

from __future__ import annotations

from typing import Any

from jinja2 import PackageLoader
from starlette.requests import Request
from starlette.responses import HTMLResponse

from lab.results.page import environment
from lab.web.access import Access
from lab.web.boards import POWER


class Views:
    """The report's templates and those of the live pages."""

    def __init__(self) -> None:
        self._jinja = environment(PackageLoader("lab.web"))
        self.access: Access | None = None

    def page(self, template: str, request: Request, *, status: int = 200, **values: Any) -> HTMLResponse:
        """A whole page; it knows where it is and who looks at it."""
        person = self.access.person(request) if self.access is not None else None
        return HTMLResponse(
            self.part(template, here=request.url.path, person=person, access=self.access, **values), status
        )

    def part(self, template: str, **values: Any) -> str:
        """A piece of HTML."""
        return self._jinja.get_template(template).render(power=POWER, **values)
