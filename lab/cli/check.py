"""``lab test``: the project's own checks, the cheap ones first."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Annotated

import typer

from lab.base import dirs
from lab.base.errors import ConfigError
from lab.base.ui import err

LINTERS = (
    ("lint", ["-m", "ruff", "check", "--no-cache"]),  # its cache knows no module that was added meanwhile
    ("format", ["-m", "ruff", "format", "--check"]),
    ("types", ["-m", "mypy"]),
    ("imports", ["-c", "from importlinter.cli import lint_imports_command as c; c()"]),
)
JOBS = 2
"""One worker waits for a board while the other computes; more boards at a time are in each other's way."""


OPTIONS = ["-p", "no:labgrid"]
"""labgrid's plugin is the suites'; here it would log each byte of a console, and fails at some (26.0.1)."""


def spread(workers: int) -> list[str]:
    """What pytest-xdist needs; tests/conftest.py says what stays together, and in which order."""
    return ["-n", str(workers), "--no-loadscope-reorder"]


def linted() -> list[str]:
    """Run the linters side by side, print what they said; the names of those that failed."""
    environment = {**os.environ, "MYPY_CACHE_DIR": str(dirs.cache() / "mypy")}  # a fresh clone has it, too
    running = [
        (
            name,
            subprocess.Popen(
                [sys.executable, *command],
                cwd=dirs.root(),
                env=environment,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            ),
        )
        for name, command in LINTERS
    ]
    failed = []
    for name, process in running:
        said, _ = process.communicate()
        err.print(f"{name:8} {'ok' if process.returncode == 0 else 'FAILED'}")
        if process.returncode:
            failed.append(name)
            err.print(said)
    return failed


def own_checks(
    pytest_args: Annotated[
        list[str] | None, typer.Argument(metavar="ARGUMENT", help="Passed on to pytest.")
    ] = None,
    lint: Annotated[bool, typer.Option(help="Run ruff, mypy and the import contract first.")] = True,
    jobs: Annotated[
        int | None,
        typer.Option(
            "--jobs",
            "-j",
            metavar="N",
            help="Tests of N files at a time (default: 2; 1 where pytest is given arguments).",
            show_default=False,
            min=1,
        ),
    ] = None,
) -> None:
    """Run the project's own checks: lint, types, import contract, tests (some boot a virtual board)."""
    try:
        import mypy  # noqa: F401
    except ImportError:
        raise ConfigError("the development tools are missing", hint="run ./bootstrap.sh test") from None
    failed = linted() if lint else []
    workers = jobs or (1 if pytest_args else JOBS)
    code = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            *OPTIONS,
            *(spread(workers) if workers > 1 else ()),
            *(pytest_args or ()),
        ],
        cwd=dirs.root(),
        check=False,
    ).returncode
    if failed:
        err.print(f"failed before the tests: {', '.join(failed)}", style="red")
    raise typer.Exit(code or int(bool(failed)))
