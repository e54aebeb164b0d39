"""``lab serve``: boards and their queue, running tests, matrices and comparisons as live web pages.

``make_app`` gives the ASGI application. Pages are rendered here, by the templates of the report; what
moves comes as server-sent events. It only shows, unless it was given a token.
"""

from lab.web.app import Settings, make_app

__all__ = ["Settings", "make_app"]
