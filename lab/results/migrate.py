"""Bring an earlier store to today's tables, by Alembic's migrations in ``migrations/``."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Connection

from lab.base.errors import ConfigError

FIRST = "0001"
"""What a store is that was made before there were migrations."""


def configuration(connection: Connection | None = None) -> Config:
    """Alembic's settings: its folder, and the connection whose transaction it works in."""
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).with_name("migrations")).replace("%", "%%"))
    config.attributes["connection"] = connection
    return config


def upgrade(connection: Connection, revision: str | None, store: str) -> None:
    """Migrate, inside the caller's transaction. ConfigError where the store is newer than this sharelab."""
    config = configuration(connection)
    if revision is None:
        command.stamp(config, FIRST)
    else:
        try:
            ScriptDirectory.from_config(config).get_revision(revision)
        except CommandError:
            raise ConfigError(
                f"result store {store}: made by a newer sharelab (revision {revision})",
                hint="use that one, or fill another store by `lab results add results/*`",
            ) from None
    command.upgrade(config, "head")
