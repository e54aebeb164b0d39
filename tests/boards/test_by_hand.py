"""A board and its guest from the command line, as somebody has them who looks around: no run, no lease."""

from __future__ import annotations

import json

import pytest

from lab.base.words import IommuMode
from lab.boards import Board
from lab.rack import Rack
from tests.command import lab

pytestmark = [pytest.mark.board, pytest.mark.timeout(240)]

SAYS = ("sh", "-c", "echo 'a  b'; echo c >&2; exit 7")


@pytest.fixture
def here(rack: Rack, board: Board):
    """``lab COMMAND WORDS`` on the board of the rack: its output, its complaints, and its exit code."""
    board.boot(IommuMode.TRANSLATED)

    def run(command: str, *words: str) -> tuple[str, str, int]:
        done = lab(*command.split(), "--dir", rack.directory, *words, timeout=120)
        return done.stdout, done.stderr, done.returncode

    yield run
    run("vm stop")


def test_commands_on_a_board_and_in_its_guest(here, board):
    kernel, boot_id = board.facts["kernel"], "/proc/sys/kernel/random/boot_id"
    assert here("shell", "--", "uname", "-r") == (f"{kernel}\n", "", 0)
    assert here("shell", "--", *SAYS) == ("a  b\n", "c\n", 7)
    _, complaint, status = here("shell", "--guest", "--", "true")
    assert status == 3
    assert "no virtual machine runs on virt-smmu" in complaint

    told, _, status = here("vm start", "-s", "memory=256M", "-s", "gpu=none")
    assert status == 0
    assert "guest of virt-smmu is up" in told
    assert json.loads(here("vm status", "--json")[0])["running"]
    ids = {here("shell", *where, "--", "cat", boot_id)[0] for where in ((), ("--guest",))}
    assert [len(one) for one in ids] == [37, 37], "two kernels"
    assert here("shell", "--guest", "--", *SAYS) == ("a  b\n", "c\n", 7)

    assert here("vm stop") == ("", "", 0)
    assert not json.loads(here("vm status", "--json")[0])["running"]
