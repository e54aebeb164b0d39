"""``lab ci``: a pipeline for a CI system, to be put into a repository."""

from __future__ import annotations

import re
import shlex
import sys
from pathlib import PurePosixPath
from typing import Annotated

import typer

from lab.admin.pipeline import System
from lab.base.errors import ConfigError

SAFE = re.compile(r"[A-Za-z0-9_.:+/-]+")


def ci(
    system: Annotated[System, typer.Argument(metavar="SYSTEM", help="Whose pipeline.")],
    suites: Annotated[
        list[str] | None, typer.Argument(metavar="SUITE", help="Suites to run (default: all).")
    ] = None,
    soc: Annotated[
        list[str] | None,
        typer.Option(
            "--soc", metavar="SOC", help="A job for this SoC; repeat for more (soc= in lab boards)."
        ),
    ] = None,
    wait: Annotated[str, typer.Option(metavar="TIME", help="Wait for a board no longer than this.")] = "1h",
    run: Annotated[str, typer.Option(metavar="TIME", help="Time for the run itself.")] = "1h",
    priority: Annotated[int, typer.Option(help="Served before jobs with a lower one.")] = 0,
    coordinator: Annotated[
        str, typer.Option(metavar="HOST:PORT", help="As the CI system's runner reaches it.")
    ] = "127.0.0.1:20408",
    path: Annotated[
        str, typer.Option(metavar="DIR", help="sharelab's folder in that repository: . or a submodule.")
    ] = ".",
) -> None:
    """Print a pipeline that runs suites on a board of each SoC.

    Each job waits for a board for a bounded time, runs, keeps its results and
    JUnit file, and gives the board back, also when it is cancelled.

    Examples:
      lab ci gitlab --soc rk3399 --soc rk3588 > .gitlab-ci.yml
      lab ci github board --soc rk3588 > .github/workflows/boards.yml
      lab ci jenkins --soc rk3588 --wait 30m > Jenkinsfile
    """
    from lab.admin.pipeline import Pipeline
    from lab.base.duration import seconds
    from lab.runs.request import find_suites

    if not soc:
        hint = f"lab ci {system} --soc rk3588 (lab boards shows what the lab has)"
        raise ConfigError("no --soc given", hint=hint)
    for word in (*soc, coordinator, path):
        if not SAFE.fullmatch(word):
            raise ConfigError(f"{word!r} cannot stand in a pipeline", hint="letters, digits and '_.:+/-'")
    find_suites(suites or [])
    pipeline = Pipeline(
        socs=tuple(dict.fromkeys(soc)),
        suites=suites or (),
        wait=seconds(wait),
        limit=seconds(wait) + seconds(run),
        priority=priority,
        coordinator=coordinator,
        path=path if path == "." else f"./{PurePosixPath(path)}",
        command=shlex.join(["lab", *sys.argv[1:]]),
    )
    typer.echo(pipeline.text(system), nl=False)
