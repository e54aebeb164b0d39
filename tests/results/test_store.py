"""Nothing is lost and nothing doubled on the way into the store."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lab.base.errors import ConfigError
from lab.results import LogContents, Outcome, Result, ResultLog, Run
from lab.results.store import Store
from tests.results.sample import bad_run, good_run, plan, run
from tests.results.strategies import cells, hostile, results, times


def write_log(path: Path, header: Run, items: list[Result]) -> bytes:
    with ResultLog.create(path, header) as log:
        for item in items:
            log.write(item)
    return path.read_bytes()


def test_what_goes_in_comes_out(tmp_path: Path) -> None:
    items = bad_run()
    header = run(plan(good_run()))
    write_log(tmp_path / "log", header, items)
    with Store(tmp_path / "deep" / "store.sqlite") as store:
        assert store.ingest(tmp_path / "log").new == len(items)
        assert store.runs() == [header]
        assert store.results(header.id) == items
        assert store.outcome(header) == Outcome.of(items, header)
        light = store.results(header.id, heavy=False)
        assert [(item.key, item.verdict, item.metrics) for item in light] == [
            (item.key, item.verdict, item.metrics) for item in items
        ]
        assert not any(item.evidence or item.log for item in light)


@settings(max_examples=15, deadline=None)
@given(data=st.data())
def test_a_log_cut_anywhere_and_ingested_again_and_again(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("store")
    items = good_run(["virt-cma"])[:4]
    whole = write_log(folder / "log", run(), items)
    with Store(folder / "store.sqlite") as store:
        for cut in data.draw(st.lists(st.integers(0, len(whole)), max_size=4)):
            (folder / "log").write_bytes(whole[:cut])
            store.ingest(folder / "log")
        (folder / "log").write_bytes(whole)
        store.ingest(folder / "log")
        assert store.ingest(folder / "log") == store.ingest(folder / "log")
        assert store.ingest(folder / "log").known == len(items)
        assert store.results(run().id) == items
        assert store.runs() == [run()]


@settings(max_examples=40, deadline=None)
@given(
    items=st.lists(results(run="r"), max_size=5),
    name=hostile,
    when=times,
    planned=st.lists(cells(), max_size=2),
)
def test_any_result_and_any_run_survive_the_store(
    items: list[Result],
    name: str,
    when: object,
    planned: list[object],
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    header = Run(id=f"r{name}", started=when, planned=tuple(planned))  # type: ignore[arg-type]
    with Store(tmp_path_factory.mktemp("store") / "s") as store:
        store.ingest(LogContents((header,), tuple(items)))
        found = {(item.key, item.attempt): item for item in reversed(items)}
        assert {(item.key, item.attempt): item for item in store.results("r")} == found
        assert store.find(header.id) == header


def test_a_log_whose_first_line_is_lost_is_completed_later(tmp_path: Path) -> None:
    items = good_run(["virt-cma"])
    header = run(plan(items))
    whole = write_log(tmp_path / "log", header, items)
    with Store(tmp_path / "s") as store:
        (tmp_path / "log").write_bytes(whole.split(b"\n", 1)[1])
        store.ingest(tmp_path / "log")
        assert (store.find("last").id, store.find("last").planned) == (header.id, ())
        (tmp_path / "log").write_bytes(whole)
        store.ingest(tmp_path / "log")
        assert store.runs() == [header]
        assert store.results(header.id) == items


def test_what_is_planned_later_arrives_in_the_store(tmp_path: Path) -> None:
    whole = plan(good_run(["virt-cma"]))
    with Store(tmp_path / "s") as store:
        for planned in (whole[:2], whole, whole[:2]):
            store.ingest(LogContents((run(planned),), ()))
        assert store.runs() == [run(whole)]


def test_processes_that_ingest_at_once_into_a_new_store(tmp_path: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from lab.results.store import Store\n"
        "with Store(Path(sys.argv[1])) as store:\n"
        "    for name in sys.argv[2:]: store.ingest(Path(name))"
    )
    logs = []
    for number in range(4):
        logs.append(str(tmp_path / f"log{number}"))
        header = Run(id=f"run-{number // 2}", started=run().started)
        items = [Result(**{**vars_of(item), "run": header.id}) for item in good_run()]
        write_log(Path(logs[-1]), header, items)
    orders = [logs, logs[::-1], logs[2:] + logs[:2]]
    processes = [
        subprocess.Popen([sys.executable, "-c", script, str(tmp_path / "s"), *order], stderr=subprocess.PIPE)
        for order in orders
    ]
    for process in processes:
        _, said = process.communicate()
        assert process.returncode == 0, said.decode()
    with Store(tmp_path / "s") as store:
        assert sorted(item.id for item in store.runs()) == ["run-0", "run-1"]
        for name in ("run-0", "run-1"):
            assert len(store.results(name)) == len(good_run())


def vars_of(item: Result) -> dict[str, object]:
    return {name: getattr(item, name) for name in item.__dataclass_fields__}


def test_runs_are_found_by_their_beginning(tmp_path: Path) -> None:
    with Store(tmp_path / "s") as store:
        for number, name in enumerate(("2026-a1", "2026-a2", "100%", "2027")):
            store.ingest(LogContents((Run(id=name, started=run().started.replace(minute=number)),), ()))
        assert store.find("2027").id == store.find("last").id == store.find("2027").id
        assert store.find("2026-a1").id == "2026-a1"
        with pytest.raises(ConfigError, match="2 runs begin so: 2026-a2, 2026-a1"):
            store.find("2026")
        with pytest.raises(ConfigError, match="no such run"):
            store.find("%")
        assert [item.id for item in store.runs(2)] == ["2027", "100%"]


def test_what_is_no_store_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no result store at"):
        Store(tmp_path / "none", create=False)
    (tmp_path / "text").write_text("this is no database at all, whatever its name says\n" * 100)
    with pytest.raises(ConfigError, match="no result store"):
        Store(tmp_path / "text")
    with Store(tmp_path / "s") as store, pytest.raises(ConfigError, match="no such run"):
        store.find("last")


@pytest.mark.parametrize(("limit", "value"), [("BATCH", 3), ("BATCH_BYTES", 20_000)])
def test_a_log_of_many_batches_is_as_one_of_one(
    limit: str, value: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    items = good_run()
    write_log(tmp_path / "log", run(plan(items)), items)
    monkeypatch.setattr(f"lab.results.store.{limit}", value)
    taken: list[int] = []
    monkeypatch.setattr(Store, "_put", _counted(Store._put, taken))
    with Store(tmp_path / "store.sqlite") as store:
        assert store.ingest(tmp_path / "log").new == len(items)
        assert len(taken) > 5
        assert store.ingest(tmp_path / "log").known == len(items)
        assert store.results(run().id) == items
        assert store.runs() == [run(plan(items))]


def _counted(put: Callable[..., int], taken: list[int]) -> Callable[..., int]:
    def counted(*arguments: Any) -> int:
        taken.append(put(*arguments))
        return taken[-1]

    return counted
