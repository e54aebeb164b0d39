"""``lab sync`` with a real coordinator: the difference is right, is made, and is then gone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lab.admin.sync import present
from lab.places import Session, connect
from lab.places.wire import pb
from tests.admin.conftest import Bench

LAB = """\
max_per_user: 2
exporters:
  shelf:
    resources:
      rock: {NetworkService: {address: 10.0.0.7, username: root}}
      shared: {NetworkPowerPort: {model: rest, host: "http://10.0.0.1/{index}", index: 1}}
places:
  rock:
    tags: {soc: rk3588, board: rock5b}
    matches: [shelf/rock/*, {shelf/shared/NetworkPowerPort: power}]
  seat:
    target: virt-smmu
    matches: []
"""


@pytest.fixture
def lab_yaml(bench: Bench) -> Path:
    path = bench.folder / "lab.yaml"
    path.write_text(LAB)
    return path


def sync(bench: Bench, *words: str) -> str:
    """What ``lab sync`` says on stdout: the difference."""
    done = bench.lab("sync", "lab.yaml", *words)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def session(bench: Bench) -> Iterator[Session]:
    with connect(bench.address) as connected:
        yield connected


def places(session: Session) -> dict[str, Any]:
    return {message.name: message for message in present(session)}


def matches(message: Any) -> list[str]:
    return [f"{one.exporter}/{one.group}/{one.cls} {one.rename}".strip() for one in message.matches]


def test_dry_run_then_for_real_then_no_difference(bench: Bench, lab_yaml: Path, session: Session):
    told = sync(bench, "--dry-run")
    assert "+ rock             new\n    + match shelf/rock/*\n    + match shelf/shared/" in told
    assert places(session) == {}
    assert sync(bench) == told.replace("would be changed", "changed")
    found = places(session)
    assert found["rock"].tags == {"board": "rock5b", "max_per_user": "2", "soc": "rk3588"}
    assert matches(found["rock"]) == ["shelf/rock/*", "shelf/shared/NetworkPowerPort power"]
    assert found["seat"].tags == {"target": "virt-smmu", "soc": "qemu-virt", "max_per_user": "2"}
    assert sync(bench) == "no difference\n"


def test_what_others_changed_is_put_right_and_the_lab_s_own_tags_stay(
    bench: Bench, lab_yaml: Path, session: Session
):
    sync(bench)
    own = {"health": "healthy", "lease": "of-whoever"}
    tags = {"soc": "rk3566", "colour": "red", **own}
    session.call("SetPlaceTags", pb.SetPlaceTagsRequest(placename="rock", tags=tags))
    session.unmatch("rock", "shelf/shared/NetworkPowerPort")
    session.match("rock", "shelf/shared/NetworkPowerPort", "main")
    session.create("old")
    told = sync(bench)
    for line in (
        "- match shelf/shared/NetworkPowerPort as main\n",
        "+ match shelf/shared/NetworkPowerPort as power\n",
        "- soc=rk3566\n    + soc=rk3588\n",
        "- colour=red\n",
        "? old              not in the file (--prune removes it)\n",
        "1 place changed\n",
    ):
        assert line in told
    assert places(session)["rock"].tags == {"board": "rock5b", "soc": "rk3588", "max_per_user": "2", **own}
    assert "- old              goes\n" in sync(bench, "--prune")
    assert "old" not in places(session)


def test_a_held_place_keeps_its_matches_and_its_life(bench: Bench, lab_yaml: Path, session: Session):
    """labgrid would change and delete it, and never give its resources back."""
    sync(bench)
    session.call("AcquirePlace", pb.AcquirePlaceRequest(placename="rock"))
    lab_yaml.write_text(LAB.replace("shelf/rock/*, ", "").replace("rock5b", "rock5b-plus"))
    told = sync(bench)
    assert "- match shelf/rock/*    (later)\n" in told
    assert f"held by {session.identity}: lab sync again when it is free\n" in told
    assert "1 place changed, 1 held" in told
    held = places(session)["rock"]
    assert held.tags["board"] == "rock5b-plus"
    assert "shelf/rock/*" in matches(held)
    lab_yaml.write_text("places: {}\n")
    assert "- rock             goes\n    held by " in sync(bench, "--prune")
    assert list(places(session)) == ["rock"]
    session.call("ReleasePlace", pb.ReleasePlaceRequest(placename="rock"))
    sync(bench, "--prune")
    assert places(session) == {}
