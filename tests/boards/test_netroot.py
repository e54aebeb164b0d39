"""A board whose root file system comes over the network, from broken servers.

From one that is well: tests/runs/test_own_kernel.py.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from lab.base.words import IommuMode
from lab.boards import Board, LostBoardError, load_target
from lab.rack import Machine, Rack
from tests.boards.webserver import server

pytestmark = pytest.mark.board

NAME = "virt-netroot"


@pytest.fixture(scope="module")
def rack(real_image, tmp_path_factory) -> Iterator[Rack]:
    machine = Machine.model_validate(load_target(NAME).virtual)
    directory = tmp_path_factory.mktemp("netroot")
    with Rack.start({NAME: machine}, image=real_image, directory=directory) as started:
        yield started


# One that refuses the connection: tests/runs/test_leased.py, as a whole run.
BROKEN = {
    "missing": "server returned error: HTTP/1.1 404 Not Found",
    "truncated": "connection closed prematurely",
    "stalled": "nothing came for 10 s, 0 of [0-9]+ MiB are there",
    "slow": "0 of [0-9]+ MiB within 6 s",
    "other": "100000 bytes, not [0-9]+",
}


@pytest.mark.parametrize("kind", BROKEN)
def test_broken_server_is_one_clear_line_and_no_hang(kind, rack, real_image, tmp_path):
    """The board says what is wrong, and the boot ends with that line: a fault of the lab."""
    text = load_target(NAME).path.read_text()
    target_file = tmp_path / f"{NAME}.yaml"
    patience = "root: 6, " if kind == "slow" else ""
    target_file.write_text(text.replace("timeouts: {", f"timeouts: {{{patience}"))
    target = load_target(target_file)
    with server(kind, bytes(100_000), tmp_path) as provider:
        environment = target.write_environment(
            fresh(tmp_path / "environment"),
            resources={**rack.resources(NAME), "HTTPProvider": provider},
            image=real_image,
            keyfile=rack.keyfile,
            boot_files=rack.boot_files,
        )
        with (
            Board.open(environment, target, real_image) as board,
            pytest.raises(LostBoardError, match=f"{NAME}: LAB-ROOT-FAILED: .*({BROKEN[kind]})"),
        ):
            board.boot(IommuMode.TRANSLATED)


def fresh(folder):
    folder.mkdir()
    return folder
