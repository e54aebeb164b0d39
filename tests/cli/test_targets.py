"""``lab targets``: what a person reads, and the page that is made of the files."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from lab.base import dirs
from lab.boards.target import load_target, names
from lab.cli.app import app
from lab.cli.targets_table import PLACE


def said(*words: str) -> str:
    done = CliRunner().invoke(app, ["targets", *words])
    assert done.exit_code == 0, done.output
    return done.stdout


def test_the_page_of_all_targets_is_up_to_date():
    assert (dirs.root() / PLACE).read_text() == said("table"), f"lab targets table > {PLACE}"


def test_the_list_has_a_whole_line_per_target():
    heading, *lines, _ = said("list").splitlines()
    assert heading.split() == ["TARGET", "SOC", "BOARD", "DECODERS", "IOMMU", "UNVERIFIED"]
    assert [line.split()[0] for line in lines] == names()
    assert all(load_target(line.split()[0]).board in line for line in lines)


@pytest.mark.parametrize("name", names())
def test_show_marks_what_is_not_verified(name):
    target = load_target(name)
    text = said("show", name)
    for fact, basis in target.unverified.items():
        assert f"{fact}: {basis}" in text
    for decoder in target.decoders:
        assert decoder.device in text
    if "kvm" in target.unverified:
        assert "(unverified)" in next(line for line in text.splitlines() if line.startswith("kvm"))
    if target.no_decoder:
        assert f"none: {target.no_decoder}" in text
