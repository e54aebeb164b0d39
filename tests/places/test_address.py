"""Which coordinator is meant, and when it is no use to wait for it."""

from __future__ import annotations

import socket

import pytest

from lab.base.errors import LabError
from lab.places import address, connect


@pytest.fixture
def port(monkeypatch, tmp_path):
    """A socket that is bound to labgrid's default address, as it is here; it does not listen yet."""
    monkeypatch.delenv("LG_COORDINATOR", raising=False)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        monkeypatch.setattr(address, "DEFAULT", f"127.0.0.1:{bound.getsockname()[1]}")
        yield bound


def test_a_default_at_which_nobody_listens_is_not_waited_for(port):
    assert address.nobody_there()
    with pytest.raises(LabError, match=f"no labgrid coordinator answers at {address.DEFAULT}"):
        connect()


def test_who_listens_is_asked(port):
    port.listen()
    assert not address.nobody_there()


@pytest.mark.parametrize("how", ["given", "variable", "lab up"])
def test_a_coordinator_that_was_named_may_be_about_to_start(port, how, monkeypatch):
    if how == "variable":
        monkeypatch.setenv("LG_COORDINATOR", address.DEFAULT)
    if how == "lab up":
        address.address_file().parent.mkdir()
        address.address_file().write_text(address.DEFAULT)
    assert not address.nobody_there(address.DEFAULT if how == "given" else None)
