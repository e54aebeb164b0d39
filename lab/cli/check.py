"""``lab test``: the project's own checks, the cheap ones first."""

from __future__ import annotations

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


def own_checks(
    pytest_args: Annotated[list[str] | None, typer.Argument(help="Passed on to pytest.")] = None,
    lint: Annotated[bool, typer.Option(help="Run ruff, mypy and the import contract first.")] = True,
) -> None:
    """Run the project's own checks: lint, types, import contract, tests (some boot a virtual board)."""
    try:
        import mypy  # noqa: F401
    except ImportError:
        raise ConfigError("the development tools are missing", hint="run ./bootstrap.sh test") from None
    failed = []
    for name, command in LINTERS if lint else ():
        done = subprocess.run(
            [sys.executable, *command], cwd=dirs.root(), text=True, capture_output=True, check=False
        )
        err.print(f"{name:8} {'ok' if done.returncode == 0 else 'FAILED'}")
        if done.returncode:
            failed.append(name)
            err.print(done.stdout + done.stderr, markup=False)
    code = subprocess.run(
        [sys.executable, "-m", "pytest", *(pytest_args or [])],
        cwd=dirs.root(),
        check=False,
    ).returncode
    if failed:
        err.print(f"[red]failed before the tests: {', '.join(failed)}")
    raise typer.Exit(code or int(bool(failed)))
