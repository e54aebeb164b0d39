"""The store's database: from a path or URL to an engine with today's tables, and its errors as ours."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, Inspector, create_engine, event, inspect, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DatabaseError, NoSuchModuleError, OperationalError

from lab.base.errors import ConfigError, LabError
from lab.results.tables import Table

REVISION = "0003"
"""Newest migration in ``migrations/versions``: what a new store is marked with."""

BUSY_SECONDS = 30
"""How long a process waits for another one that is writing."""

CONNECT_SECONDS = 10
"""How long a database server may take to answer."""

SCHEMA_LOCK = 0x5AAB
"""Advisory lock (PostgreSQL) of whoever makes or migrates the tables."""


def url_of(where: str | Path) -> URL:
    """The URL of a store: of a database, or of the SQLite file at a path. Raises ConfigError."""
    if isinstance(where, Path) or "://" not in where:
        return URL.create("sqlite", database=str(Path(where).absolute()))
    try:
        url = make_url(where)
        if url.drivername in ("postgresql", "postgres"):
            url = url.set(drivername="postgresql+psycopg")
        if url.get_backend_name() not in ("sqlite", "postgresql"):
            raise ConfigError(f"result store {shown(url)}: neither SQLite nor PostgreSQL")
        url.get_dialect()
    except (ArgumentError, NoSuchModuleError, ValueError) as error:
        raise ConfigError(f"'{where}' is not a database URL", hint=str(error).partition("\n")[0]) from None
    if url.get_backend_name() == "sqlite" and not url.database:
        raise ConfigError(f"'{where}' names no file", hint="sqlite:////path/of/file")
    return url


def shown(url: URL) -> str:
    """A store's name for people, without its password."""
    if url.get_backend_name() == "sqlite":
        return str(url.database)
    return url.set(drivername="postgresql").render_as_string(hide_password=True)


def open_engine(url: URL, *, create: bool) -> Engine:
    """An engine whose database has today's tables: made, or migrated from what an earlier sharelab made.

    Raises ConfigError where there is no store (without ``create``), or where it is none or too new.
    """
    file = Path(url.database) if url.get_backend_name() == "sqlite" and url.database else None
    if file is not None and not file.exists():
        if not create:
            raise ConfigError(f"no result store at {file}", hint="lab run makes one")
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigError(f"cannot be made ({error.strerror})", file=file.parent) from None
    engine = _sqlite(url) if file is not None else _postgresql(url)
    try:
        with explained(shown(url)):
            _make_ready(engine, shown(url), create=create)
    except BaseException:
        engine.dispose()
        raise
    return engine


@contextmanager
def explained(store: str) -> Iterator[None]:
    """Errors of the database as errors of ours."""
    try:
        yield
    except OperationalError as error:
        raise LabError(f"result store {store}: {_line(error)}") from None
    except DatabaseError as error:
        if "not a database" in str(error.orig) or "malformed" in str(error.orig):
            raise ConfigError(f"{store}: no result store ({error.orig})", hint="move the file away") from None
        raise LabError(f"result store {store}: {_line(error)}") from None


def writer(engine: Engine) -> Engine:
    """The engine for transactions that write."""
    return engine.execution_options(lab_write=True)


def _line(error: DatabaseError) -> str:
    return " ".join(str(error.orig).split())


def _make_ready(engine: Engine, store: str, *, create: bool) -> None:
    with engine.begin() as connection:
        if _revision(connection, inspect(connection)) == REVISION:
            return
    with writer(engine).begin() as connection:
        if engine.dialect.name == "postgresql":
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": SCHEMA_LOCK})
        found = inspect(connection)
        revision = _revision(connection, found)
        if revision == REVISION:
            return  # another process was faster
        if revision is None and not found.has_table("run"):
            if not create and engine.dialect.name != "sqlite":
                raise ConfigError(f"no result store at {store}", hint="lab run --store makes one")
            Table.metadata.create_all(connection)
            connection.execute(text("CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL)"))
            connection.execute(text("INSERT INTO alembic_version VALUES (:now)"), {"now": REVISION})
            return
        from lab.results.migrate import upgrade

        upgrade(connection, revision, store)


def _revision(connection: Connection, found: Inspector) -> str | None:
    if not found.has_table("alembic_version"):
        return None
    revision: str | None = connection.scalar(text("SELECT version_num FROM alembic_version"))
    return revision


def _postgresql(url: URL) -> Engine:
    # An idle connection may belong to a server that was restarted since: it is tried before use.
    arguments = {"connect_timeout": CONNECT_SECONDS, "application_name": "sharelab"}
    return create_engine(url, pool_pre_ping=True, connect_args=arguments)


def _sqlite(url: URL) -> Engine:
    engine = create_engine(url, connect_args={"timeout": BUSY_SECONDS})

    @event.listens_for(engine, "connect")
    def _connect(connection: Any, _record: object) -> None:
        # sqlite3 would begin transactions late and by itself; ours begin below, where we say so.
        connection.isolation_level = None
        _wait_for(lambda: connection.execute("PRAGMA journal_mode=WAL"))
        connection.execute("PRAGMA synchronous=NORMAL")
        connection.execute("PRAGMA foreign_keys=ON")
        connection.execute("PRAGMA cache_size=-65536")  # KiB: the indices of a million results stay in memory
        # Pages, 32 MiB: what several transactions change is written into the file once.
        connection.execute("PRAGMA wal_autocheckpoint=8000")

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        # A writer takes the lock at once: it may then read what is there and add what is not.
        write = connection.get_execution_options().get("lab_write")
        connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")

    return engine


def _wait_for(switch: Callable[[], object]) -> None:
    """Do ``switch``: the change to WAL answers "locked" at once, whatever the busy time-out."""
    deadline = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            switch()
            return
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(0.05)
