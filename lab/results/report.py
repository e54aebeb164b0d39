"""The HTML report of a run: one file that works offline, on a screen, on a phone and on paper.

Its only script, for filters and keys, is a part of it, and its content security policy lets no other run.
"""

from __future__ import annotations

from lab.results.outcome import Outcome
from lab.results.page import content_hash, default_environment, script
from lab.results.runpage import run_page
from lab.results.trends import Trends


def report(outcome: Outcome, trends: Trends | None = None) -> str:
    """The page. Whatever the results hold, it is shown as text and nothing else."""
    return (
        default_environment()
        .get_template("report.html.j2")
        .render(
            page=run_page(outcome, trends),
            script=script(),
            script_hash=content_hash(script()),
        )
    )
