"""Command lines that may end in a command of the user's own, behind ``--``."""

from __future__ import annotations

from typing import Any

from typer.core import TyperCommand

from lab.base.errors import ConfigError


class WithCommand(TyperCommand):
    """A command line that may end in ``-- COMMAND ARGUMENTS``; they are in ``ctx.meta['command']``."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Cut them off first: click would take them for more arguments."""
        command: list[str] = []
        if "--" in args:
            cut = args.index("--")
            args, command = args[:cut], args[cut + 1 :]
            if not command:
                raise ConfigError("no command stands behind --")
        ctx.meta["command"] = command
        words: list[str] = super().parse_args(ctx, args)
        return words

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """The usage line tells of it."""
        return [*super().collect_usage_pieces(ctx), "[-- COMMAND...]"]
