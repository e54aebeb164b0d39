"""The log loses no whole line, whatever happens to its writer."""

from __future__ import annotations

import signal
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lab.base.errors import ConfigError, LabError
from lab.results import ResultLog, Run, read
from lab.results import log as log_module
from tests.results.sample import plan, result, run

WRITER = """
import sys
from datetime import timedelta
from pathlib import Path
from lab.results import ResultLog
from tests.results.sample import result
log = ResultLog(Path(sys.argv[1]))
for number in range(int(sys.argv[3])):
    log.write(result(test=f"{sys.argv[2]}-{number}"))
    print(number, flush=True)
"""


def writer(path: Path, name: str, count: int) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path), name, str(count)], stdout=subprocess.PIPE, text=True
    )


def test_what_is_written_is_read(tmp_path: Path) -> None:
    path = tmp_path / "new" / "results.jsonl"
    items = [result(test=str(number)) for number in range(3)]
    header = run(plan(items))
    with ResultLog.create(path, header) as log:
        for item in items:
            log.write(item)
    contents = read(path)
    assert (contents.run, contents.results, contents.problems) == (header, tuple(items), ())


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_a_log_cut_at_any_byte_gives_every_whole_line_and_can_be_continued(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("log") / "results.jsonl"
    items = [result(test=str(number)) for number in range(3)]
    with ResultLog.create(path, run()) as log:
        for item in items:
            log.write(item)
    whole = path.read_bytes()
    ends = [at + 1 for at, byte in enumerate(whole) if byte == 10]
    cut = data.draw(st.integers(0, len(whole)) | st.sampled_from([e + d for e in ends for d in (-2, -1, 0)]))
    path.write_bytes(whole[:cut])
    # A line is whole with its last brace, also when its newline is missing.
    left = max(sum(cut >= end - 1 for end in ends) - 1, 0)
    before = read(path)
    assert before.results == tuple(items[:left])
    torn = cut not in (0, *ends, *(end - 1 for end in ends))
    assert len(before.problems) == torn
    assert all("cut off" in problem and f"{path}:" in problem for problem in before.problems)

    after = result(test="after")
    with ResultLog(path) as log:
        log.write(after)
    assert read(path).results == (*items[:left], after)


def test_a_killed_writer_leaves_what_it_had_written(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    ResultLog.create(path, run()).close()
    process = writer(path, "a", 100_000)
    assert process.stdout is not None
    for _ in range(20):
        process.stdout.readline()
    process.send_signal(signal.SIGKILL)
    said = process.stdout.read().split()
    process.wait()
    contents = read(path)
    assert len(contents.results) >= 20 + len(said)
    assert [item.test for item in contents.results] == [f"a-{n}" for n in range(len(contents.results))]


def test_processes_that_write_at_once_lose_nothing(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    ResultLog.create(path, run()).close()
    processes = [writer(path, name, 40) for name in "abc"]
    for process in processes:
        process.communicate()
        assert process.returncode == 0
    contents = read(path)
    assert contents.problems == ()
    assert sorted(item.test for item in contents.results) == sorted(
        f"{p}-{n}" for p in "abc" for n in range(40)
    )


def test_a_full_disk_is_a_clear_error_and_the_log_stays_whole(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    with ResultLog.create(path, run()) as log:
        log.write(result())
    # A file size limit in the middle of the next line is the same short write as a full disk.
    script = (
        "import resource, signal, sys; from pathlib import Path; from lab.results import ResultLog\n"
        "from tests.results.sample import result\n"
        "path = Path(sys.argv[1]); signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "limit = path.stat().st_size + 100; resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))\n"
        "ResultLog(path).write(result())"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(path)], capture_output=True, text=True, check=False
    )
    assert "LabError" in done.stderr
    assert "could not be written (File too large)" in done.stderr
    contents = read(path)
    assert (len(contents.results), contents.problems) == (1, ())


def test_a_line_beyond_all_measure_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_module, "MAX_LINE", 1 << 16)
    path = tmp_path / "results.jsonl"
    ResultLog.create(path, run()).close()
    with path.open("ab") as file:
        file.write(b'{"schema":1,' + b" " * (1 << 20) + b"\n" + result().to_json().encode() + b"\n")
    contents = read(path)
    assert contents.results == (result(),)
    assert [problem.partition(":2: ")[2][:11] for problem in contents.problems] == ["longer than"]


def test_a_log_is_never_overwritten_and_never_invented(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    ResultLog.create(path, run()).close()
    with pytest.raises(LabError, match="File exists"):
        ResultLog.create(path, run())
    with pytest.raises(LabError, match="cannot be opened"):
        ResultLog(tmp_path / "none.jsonl")
    with pytest.raises(ConfigError, match="cannot be read"):
        read(tmp_path / "none.jsonl")


def test_cells_that_are_planned_later_belong_to_the_run(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    cells = plan([result("a"), result("b")])
    header = run(cells[:1])
    with ResultLog.create(path, header) as log:
        log.plan(Run(id=header.id, started=header.started + timedelta(minutes=1), planned=cells))
    assert read(path).runs == (run(cells),)
