import errno
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.base.errors import ConfigError, LabError
from lab.imaging.cache import Cache, Work, digest, digest_tree

HOLDER = Path(__file__).with_name("holder.py")


@pytest.fixture
def cache(tmp_path):
    return Cache(tmp_path)


def start(cache: Cache, seconds: float) -> subprocess.Popen[str]:
    argv = [sys.executable, str(HOLDER), str(cache.root), str(seconds)]
    return subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)


def write(text):
    def make(work: Work) -> None:
        (work.path / "file").write_text(text)

    return make


def test_a_result_is_made_once_and_found_afterwards(cache):
    first = cache.step("step", "key", write("one"))
    second = cache.step("step", "key", write("two"))
    assert (first.fresh, second.fresh) == (True, False)
    assert (second.path / "file").read_text() == "one"


def test_another_key_is_another_result(cache):
    cache.step("step", "key", write("one"))
    assert (cache.step("step", "other", write("two")).path / "file").read_text() == "two"


def test_anew_replaces_the_result(cache):
    cache.step("step", "key", write("one"))
    assert (cache.step("step", "key", write("two"), anew=True).path / "file").read_text() == "two"


def test_a_step_that_fails_leaves_nothing(cache):
    def fail(work: Work) -> None:
        (work.path / "file").write_text("half")
        raise LabError("no")

    with pytest.raises(LabError):
        cache.step("step", "key", fail)
    assert cache.find("step", "key") is None
    assert list((cache.root / "tmp").iterdir()) == []


def test_two_builds_at_once_make_a_step_once(cache):
    builds = [start(cache, 0.5), start(cache, 0.5)]
    outputs = sorted(build.communicate(timeout=30)[0].split()[-1] for build in builds)
    assert outputs == ["found", "fresh"]


def test_a_killed_build_leaves_no_result_and_the_next_one_sweeps(cache):
    build = start(cache, 60)
    assert build.stdout is not None
    assert build.stdout.readline() == "inside\n"
    build.send_signal(signal.SIGKILL)
    build.wait()
    assert cache.find("slow", "k") is None
    assert list((cache.root / "tmp").glob("*/half"))
    cache.sweep()
    assert list((cache.root / "tmp").iterdir()) == []
    assert start(cache, 0).communicate(timeout=30)[0].split() == ["inside", "fresh"]


def test_sweep_leaves_a_running_build_alone(cache):
    build = start(cache, 0.5)
    assert build.stdout is not None
    build.stdout.readline()
    cache.sweep()
    assert build.communicate(timeout=30)[0] == "fresh\n"
    found = cache.find("slow", "k")
    assert found is not None
    assert (found.path / "whole").exists()


def test_programs_of_a_killed_build_keep_its_folder(cache):
    """What a dead build started may still write: its folder is not swept under it."""
    inside = threading.Event()

    def build():
        with cache.work() as work:
            inside.set()
            work.run(["sleep", "0.4"])

    thread = threading.Thread(target=build)
    thread.start()
    inside.wait()
    cache.sweep()
    kept = list((cache.root / "tmp").iterdir())
    thread.join()
    assert len(kept) == 2
    assert list((cache.root / "tmp").iterdir()) == []


def test_nobody_is_alone_while_a_build_uses_the_cache(cache, monkeypatch):
    monkeypatch.setattr("lab.imaging.cache.LOOK_UP", 0.1)
    with cache.in_use(), pytest.raises(LabError, match="build is using"), cache.alone():
        pass
    with cache.alone():
        pass


def test_a_failing_program_is_quoted(cache):
    with cache.work() as work, pytest.raises(LabError, match=r"trying failed \(3\): .*broken"):
        work.run(["sh", "-c", "echo whole; echo broken >&2; exit 3"], what="trying")


def test_a_full_disk_is_the_users_to_mend(cache):
    def full(work: Work) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(ConfigError, match="no space left"):
        cache.step("step", "key", full)
    with cache.work() as work, pytest.raises(ConfigError, match="no space left"):
        work.run(["sh", "-c", "echo 'write: No space left on device'; exit 1"])


def test_a_stopped_build_starts_no_more_programs(cache):
    with cache.work() as work:
        cache.stop.set()
        with pytest.raises(LabError, match="stopped"):
            work.run(["true"])


def test_a_result_cut_short_is_made_again(cache):
    place = cache.step("step", "key", write("one")).path
    (place / "step.json").write_text("")
    assert cache.step("step", "key", write("two")).fresh


def test_use_marks_a_result(cache):
    place = cache.step("step", "key", write("one")).path
    os.utime(place, (1, 1))
    cache.find("step", "key")
    assert place.stat().st_mtime > time.time() - 60


plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.text(), plain))
def test_a_digest_does_not_depend_on_order(value):
    assert digest(value) == digest(dict(reversed(value.items())))


@given(st.lists(st.text(), min_size=1), st.text())
def test_a_digest_depends_on_every_value(values, other):
    changed = [other, *values[1:]]
    assert (digest(values) == digest(changed)) == (values == changed)


def test_a_trees_digest_sees_content_mode_links_and_names(tmp_path):
    (tmp_path / "folder").mkdir()
    file = tmp_path / "folder" / "file"
    seen = []

    def look():
        seen.append(digest(digest_tree(tmp_path)))

    look()
    file.write_text("one")
    look()
    file.write_text("two")
    look()
    file.chmod(0o755)
    look()
    (tmp_path / "link").symlink_to("file")
    look()
    (tmp_path / "link").unlink()
    (tmp_path / "link").symlink_to("other")
    look()
    file.rename(file.with_name("renamed"))
    look()
    assert len(set(seen)) == len(seen)
    (tmp_path / "folder" / "renamed~").write_text("an editor's copy")
    look()
    assert seen[-1] == seen[-2]


def test_who_takes_things_away_waits_for_a_look_up(cache):
    looked_up = []
    entered = threading.Event()

    def look_up() -> None:
        with cache.in_use():
            entered.set()
            time.sleep(0.3)
            looked_up.append(True)

    thread = threading.Thread(target=look_up)
    thread.start()
    assert entered.wait(10)
    with cache.alone():
        assert looked_up
    thread.join(10)
