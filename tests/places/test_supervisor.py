"""The process behind ``lab up``: what it keeps, it can also end."""

from __future__ import annotations

from lab.places import supervisor
from lab.places.supervisor import Kept, Plan
from tests.lightlab import free_port


def test_a_process_that_is_ended_while_it_is_started_ends(tmp_path):
    for _ in range(20):
        kept = Kept("sleep", ["sleep", "600"], tmp_path, tmp_path / "log")
        kept.start()
        kept.end()
        assert not kept.running


def test_a_file_in_the_users_folder_is_not_taken_for_a_module(tmp_path, monkeypatch):
    """``python -m`` looks there first."""
    (tmp_path / "socket.py").write_text("raise SystemExit('the wrong one')")
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "lab"
    supervisor.start(folder, Plan(f"127.0.0.1:{free_port()}", str(tmp_path / "state"), {}))
    assert supervisor.running(folder) is not None
    supervisor.end(folder)
    assert supervisor.running(folder) is None
