"""What a run is asked for, and how its cells are named."""

from __future__ import annotations

import json
import os

import pytest

from lab.base.errors import ConfigError
from lab.base.words import IommuMode
from lab.boards import load_target
from lab.results.model import Cell
from lab.runs.events import EventWriter, read_events
from lab.runs.lab import Lab
from lab.runs.request import find_suites, parse_modes, suite_names, suites_folder
from lab.runs.session import Session, is_target

pytest_plugins = ["pytester"]


def test_every_suite_is_found_by_name_and_by_path():
    assert "board" in suite_names()
    assert find_suites([]) == tuple(suites_folder() / name for name in suite_names())
    one = suites_folder() / "board" / "test_import.py"
    assert find_suites([str(one)]) == (one,)


def test_an_unknown_suite_names_those_that_are_there():
    with pytest.raises(ConfigError, match=r"unknown suite 'bord'.*board"):
        find_suites(["bord"])


def test_modes_come_from_the_option_or_the_target():
    target = load_target("virt-smmu")
    assert parse_modes(None, target) == list(target.default_modes)
    assert parse_modes("off, translated,off", target) == [IommuMode.OFF, IommuMode.TRANSLATED]


@pytest.mark.parametrize(
    ("text", "words"), [("on", "not an IOMMU mode.*translated"), ("lazy", "virt-cma has no IOMMU mode.*off")]
)
def test_a_wrong_mode_names_the_right_ones(text, words):
    with pytest.raises(ConfigError, match=words):
        parse_modes(text, load_target("virt-cma"))


def test_only_a_file_with_a_soc_is_a_target(tmp_path):
    plain = tmp_path / "env.yaml"
    plain.write_text("targets: {main: {}}\n")
    assert not is_target(plain)
    assert is_target(load_target("virt-smmu").path)


def test_events_survive_a_reader_that_went_away_and_a_cut_line():
    read_end, write_end = os.pipe()
    writer = EventWriter(write_end)
    writer.emit("plan", cells=3)
    os.write(write_end, b'{"event": "res')
    os.close(write_end)
    with os.fdopen(read_end) as stream:
        assert list(read_events(stream)) == [{"event": "plan", "cells": 3}]
    read_end, write_end = os.pipe()
    os.close(read_end)
    EventWriter(write_end).emit("plan", cells=3)
    os.close(write_end)
    EventWriter(None).emit("plan", cells=json.loads("3"))


def test_the_command_that_repeats_a_cell_keeps_the_vmm():
    lab = Lab(load_target("virt-smmu"), place="here")
    cell = Cell(
        test="suites/vm/test_virgl.py::test_x[wide]",
        target="virt-smmu",
        iommu=IommuMode.OFF,
        suite="vm",
        allocator="virgl-texture",
        decoder="wide",
    )
    words = "lab run vm --target virt-smmu --iommu off -k 'test_x and wide and virgl-texture'"
    assert Session(lab, [IommuMode.OFF]).repeat(cell) == words
    asked = Session(lab, [IommuMode.OFF], vmm=("binary=qemu-11",))
    assert asked.repeat(cell) == f"{words} --vmm binary=qemu-11"
