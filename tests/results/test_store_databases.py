"""The store in SQLite and in PostgreSQL: the same answers; migrations; servers that go away."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import create_engine

from lab.base.errors import ConfigError, LabError
from lab.base.words import IommuMode, Status
from lab.results import LogContents, Outcome, Result, ResultLog, Run
from lab.results.database import url_of
from lab.results.log import read
from lab.results.migrate import configuration
from lab.results.places import Ended, HealthRecord, LeaseRecord
from lab.results.query import Query
from lab.results.store import Store
from lab.results.tables import Table
from tests.admin import machines
from tests.admin.machines import Machine
from tests.results import postgres
from tests.results.sample import bad_run, good_run, plan, result, run
from tests.results.strategies import results

OLD = Path(__file__).with_name("golden") / "store-0001.sql"
START = datetime(2026, 11, 22, tzinfo=UTC)


@pytest.fixture(scope="module")
def server() -> Iterator[postgres.Server]:
    with postgres.running() as found:
        yield found


@pytest.fixture(params=["sqlite", "postgresql"])
def where(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of a store that is not there yet."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/store.sqlite"
    found: postgres.Server = request.getfixturevalue("server")
    return found.new_database(f"store{time.monotonic_ns()}")


def history() -> list[Result]:
    """Twelve runs of two SoCs on two kernels: a cell that is flaky, one that the lab always lost."""
    found = []
    for number in range(12):
        common = {
            "run": f"run-{number:02}",
            "started": START + timedelta(hours=number),
            "kernel": f"6.{number // 6}",
            "metrics": {"decode_seconds": 1 + number / 10},
        }
        for soc in ("rk3399", "rk3588"):
            kind = {"target": f"{soc}-evk", "soc": soc, "place": f"{soc}-1"}
            flaky = Status.FAIL if number % 2 else Status.PASS
            found += [
                result(**common, **kind),
                result("", IommuMode.OFF, "vgem", **common, **{**kind, "status": flaky}),
                result(
                    "", IommuMode.OFF, "copy", **common, **{**kind, "status": Status.MISS, "verdict": None}
                ),
            ]
    return found


def fill(store: Store, items: list[Result]) -> None:
    runs = tuple(Run(id=name, started=START) for name in sorted({item.run for item in items}))
    assert store.ingest(LogContents(runs, tuple(items))).new == len(items)


def test_a_run_comes_back_as_it_went_in(where: str) -> None:
    header, items = run(plan(good_run())), bad_run()
    with Store(where) as store:
        store.ingest(LogContents((header,), tuple(items)))
    with Store(where, create=False) as store:
        assert store.runs() == [header]
        assert store.results(header.id) == items
        assert store.outcome(header) == Outcome.of(items, header)
        rows = store.select()
        assert [store.result(row.id) for row in rows] == items
        for name in ("key", "soc", "place", "verdict", "expected", "errno", "reason", "repeat", "metrics",
                     "started", "ended", "duration", "kernel", "image", "environment", "as_expected", "path",
                     "iommu_verified", "expected_reason", "attempt", "run", "expectation"):  # fmt: skip
            assert [getattr(row, name) for row in rows] == [getattr(item, name) for item in items], name


def test_postgresql_counts_anew_when_a_store_has_doubled(server: postgres.Server) -> None:
    """Its planner would take the store for empty until autovacuum's next look, a minute later."""
    items = good_run()
    with Store(server.new_database("counted")) as store:
        for part, counted in ((items[:20], 20), (items[20:30], 20), (items[30:50], 50)):
            store.ingest(LogContents((run(),), tuple(part)))
            count = "SELECT reltuples::bigint FROM pg_class WHERE relname = 'result'"
            assert server.query("counted", count) == counted


def test_leases_and_health_checks_are_kept_once(where: str) -> None:
    lease = LeaseRecord(run="r", place="p", target="t", holder="h/u", asked=START, since=START, until=START,
                        ended=Ended.RELEASED)  # fmt: skip
    check = HealthRecord(run="r", place="p", target="t", started=START, health="healthy")
    later = replace(lease, since=START + timedelta(hours=1))
    with Store(where) as store:
        for _ in range(2):
            store.ingest(LogContents((), (), (), (lease, later), (check,)))
        assert store.leases() == [later, lease]
        assert store.leases("p", limit=1) == [later]
        assert store.leases("q") == []
        assert store.health("p") == [check]


def test_the_newest_results_of_every_cell(where: str) -> None:
    with Store(where) as store:
        fill(store, history())
        newest = store.latest()
        assert {(row.soc, row.allocator, row.run, row.status) for row in newest} == {
            (soc, *rest)
            for soc in ("rk3399", "rk3588")
            for rest in (
                ("udmabuf-4k", "run-11", Status.PASS),
                ("vgem", "run-11", Status.FAIL),
                ("copy", "run-11", Status.MISS),
            )
        }
        samples = store.latest(Query(socs=("rk3399",), allocators=("udmabuf-4k",)), samples=3)
        assert [(row.run, row.metrics["decode_seconds"]) for row in samples] == [
            ("run-11", 2.1), ("run-10", 2.0), ("run-09", 1.9),
        ]  # fmt: skip
        assert {row.run for row in store.latest(Query(kernels=("6.0",)))} == {"run-05"}
        assert {row.run for row in store.latest(Query(until=START + timedelta(hours=3)))} == {"run-02"}
        assert {row.run for row in store.latest(Query(runs=("run-04",)))} == {"run-04"}
        assert store.latest(Query(socs=("none",))) == []


def test_filters_and_values(where: str) -> None:
    with Store(where) as store:
        fill(store, history())
        assert len(store.select(Query(statuses=(Status.FAIL,), targets=("rk3588-evk",)))) == 6
        assert len(store.select(Query(modes=(IommuMode.OFF,), since=START + timedelta(hours=10)))) == 8
        assert [row.run for row in store.select(Query(places=("rk3399-1",)), limit=4)] == ["run-11"] * 3 + [
            "run-10"
        ]
        assert store.values("soc") == ["rk3399", "rk3588"]
        assert store.values("kernel") == ["6.0", "6.1"]
        assert store.values("place", Query(kernels=("6.1",))) == ["rk3399-1", "rk3588-1"]
        assert store.values("allocator", Query(targets=("rk3399-evk",))) == ["copy", "udmabuf-4k", "vgem"]
        assert store.values("run")[:2] == ["run-00", "run-01"]
        with pytest.raises(ConfigError, match="'colour' is not a field"):
            store.values("colour")


@settings(max_examples=6, deadline=None, suppress_health_check=list(HealthCheck))
@given(items=st.lists(results(), max_size=8))
def test_any_result_is_kept_alike_in_both(
    items: list[Result], server: postgres.Server, tmp_path_factory: pytest.TempPathFactory
) -> None:
    urls = [str(tmp_path_factory.mktemp("any") / "s"), server.new_database(f"any{time.monotonic_ns()}")]
    kept = []
    for url in urls:
        with Store(url) as store:
            store.ingest(LogContents((), tuple(items)))
            store.ingest(LogContents((), tuple(items)))
            kept.append([store.result(row.id) for row in store.select()])
    first: dict[object, Result] = {}
    for item in items:
        first.setdefault((item.run, item.key, item.attempt), item)
    assert kept[0] == kept[1]
    assert sorted(kept[0], key=repr) == sorted(first.values(), key=repr)


def test_the_migrations_make_the_tables_that_a_new_store_has(where: str) -> None:
    engine = create_engine(url_of(where))
    with engine.begin() as connection:
        command.upgrade(configuration(connection), "head")
    with engine.begin() as connection:
        assert compare_metadata(MigrationContext.configure(connection), Table.metadata) == []
    engine.dispose()
    with Store(where) as store:  # it is what it has to be: nothing is done to it
        fill(store, history())
        assert len(store.select()) == len(history())


def test_a_store_of_the_first_sharelab_is_migrated(tmp_path: Path) -> None:
    """The dump is of a store that the release before the migrations made from the log beside it."""
    path = tmp_path / "store.sqlite"
    with closing(sqlite3.connect(path)) as old:
        old.executescript(OLD.read_text())
    log = read(OLD.with_suffix(".jsonl"))
    with Store(path) as store:
        assert {found.id: found.planned for found in store.runs()} == {
            log.runs[0].id: log.runs[0].planned,
            "lost-its-first-line": (),
        }
        kept = [item for name in (log.runs[0].id, "lost-its-first-line") for item in store.results(name)]
        assert kept == list(log.results)
        assert (store.leases(), store.health()) == (list(log.leases), list(log.health))
        assert store.ingest(log).new == 0
    with closing(sqlite3.connect(path)) as new:
        names = {name for (name,) in new.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    assert names == {*Table.metadata.tables, "alembic_version"}


def test_a_store_of_a_newer_sharelab_is_left_alone(where: str) -> None:
    with Store(where):
        pass
    engine = create_engine(url_of(where))
    with engine.begin() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    engine.dispose()
    with pytest.raises(ConfigError, match="made by a newer sharelab"):
        Store(where)


def test_what_is_no_store_is_said_in_one_line(server: postgres.Server) -> None:
    with pytest.raises(ConfigError, match="is not a database URL"):
        Store("://x")
    with pytest.raises(ConfigError, match="neither SQLite nor PostgreSQL"):
        Store("mysql://x/y")
    with pytest.raises(ConfigError, match="no result store at postgresql://lab@"):
        Store(server.new_database("empty"), create=False)
    secret = f"postgresql://lab:geheim@127.0.0.1:{server.port}/nothing"
    with pytest.raises(LabError, match="does not exist") as caught:
        Store(secret)
    assert "geheim" not in str(caught.value)
    with pytest.raises(LabError, match="refused"):
        Store("postgresql://lab@127.0.0.1:1/x")


WRITER = """
import sys
from pathlib import Path
from lab.results.store import Store
url, *logs = sys.argv[1:]
with Store(url) as store:
    print("open", flush=True)
    sys.stdin.readline()
    for log in logs:
        done = store.ingest(Path(log), retry=60)
        assert not done.problems, done
        print(done.new, flush=True)
"""


def network(machine: Machine) -> list[str]:
    """The beginning of commands that run there, of which only the network matters here."""
    return ["nsenter", "-t", str(machine.pid), "-n", "--"]


@machines.needed
def test_two_machines_write_while_the_server_restarts(tmp_path: Path) -> None:
    """Two network namespaces, one PostgreSQL between them; every log is written by both machines."""
    logs = []
    for number in range(16):
        header = Run(id=f"run-{number:02}", started=START)
        logs.append(tmp_path / f"log{number}")
        with ResultLog.create(logs[-1], header) as log:
            for item in good_run():
                log.write(replace(item, run=header.id))
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    with machines.machine(tmp_path / "one") as one, machines.machine(tmp_path / "two") as two:
        address, _ = machines.join(one, two)
        with postgres.running(address, inside=network(one)) as server:
            url = server.new_database("shared")
            writers = []
            for machine, order in ((one, logs), (two, logs[::-1])):
                words = [sys.executable, "-c", WRITER, url, *map(str, order)]
                command_line = [*network(machine), *words]
                pipe = subprocess.PIPE
                writers.append(
                    subprocess.Popen(command_line, stdin=pipe, stdout=pipe, stderr=pipe, bufsize=0)
                )
            for writer in writers:  # to open a store is not tried again: both have it before the server goes
                assert writer.stdout is not None
                assert writer.stdout.readline() == b"open\n"
            for writer in writers:
                assert writer.stdin is not None
                writer.stdin.write(b"go\n")
            new = 0
            for writer, mode in zip(writers, ("immediate", "fast"), strict=True):
                assert writer.stdout is not None
                new += int(writer.stdout.readline())  # it is at work, and far from its end
                server.stop(mode)
                server.start()
            for writer in writers:
                out, said = writer.communicate(timeout=120)
                assert writer.returncode == 0, said.decode()
                new += sum(int(line) for line in out.split())
            count = "SELECT count(*) FROM result"
            # A commit whose answer was lost is tried again, and finds its own results there.
            assert new <= server.query("shared", count) == len(logs) * len(good_run())
            check = subprocess.run(
                [*network(two), sys.executable, "-c", READER, url],
                capture_output=True, timeout=60, check=True,
            )  # fmt: skip
            assert json.loads(check.stdout) == {f"run-{number:02}": len(good_run()) for number in range(16)}


READER = """
import json, sys
from lab.results.store import Store
with Store(sys.argv[1], create=False) as store:
    print(json.dumps({run.id: len(store.results(run.id)) for run in store.runs()}))
"""


def test_a_server_that_stays_away_is_a_fault_of_the_lab(server: postgres.Server) -> None:
    url = server.new_database("away")
    with Store(url) as store:
        server.stop()
        try:
            with pytest.raises(LabError, match="result store postgresql://lab@"):
                store.ingest(LogContents((run(),), ()), retry=1)
        finally:
            server.start()
        waiting = threading.Timer(1.0, server.start)
        server.stop()
        waiting.start()
        assert store.ingest(LogContents((run(),), tuple(good_run())), retry=60).new == len(good_run())
        waiting.join()
