"""Another IOMMU mode while the board runs: the same as after a boot into it."""

from __future__ import annotations

import pytest

from lab.base.words import IommuMode
from lab.boards import load_target, switch

T, L, P, OFF = IommuMode.TRANSLATED, IommuMode.LAZY, IommuMode.PASSTHROUGH, IommuMode.OFF


@pytest.mark.parametrize(
    ("name", "now", "wanted", "enough"),
    [
        ("virt-smmu", T, P, True),
        ("virt-smmu", P, L, True),
        ("virt-smmu", T, OFF, False),
        ("virt-smmu", OFF, T, False),
        ("rk3399-rockpro64", T, L, True),
        ("rk3399-rockpro64", T, P, False),  # that one has more memory for CMA
    ],
)
def test_a_switch_is_enough_where_nothing_but_the_domains_differ(name, now, wanted, enough):
    assert switch.possible(load_target(name), now, wanted) == enough


@pytest.mark.board
def test_the_running_board_goes_from_mode_to_mode(board, qemu, monkeypatch):
    board.boot(T)
    monkeypatch.setattr(board, "switching", True)
    started = qemu()
    narrow = board.target.decoder("narrow")
    for mode, verified in ((P, "identity"), (L, "DMA-FQ"), (T, "DMA"), (P, "identity"), (T, "DMA")):
        board.boot(mode)
        assert (board.mode, board.verified, board.snapshot) == (mode, verified, "switched while it ran")
        assert qemu() == started, "it was not booted"
        bound = board.agent.call("rebind", device=narrow.device, driver=narrow.driver)
        assert bound["bound"] == (mode is not P), "28 address bits reach no memory without translation"
    board.boot(OFF)
    assert board.verified == "no group"
    assert qemu() != started


@pytest.mark.board
def test_without_leave_the_board_is_booted(board, qemu):
    board.boot(T)
    started = qemu()
    board.boot(P)
    assert qemu() != started
    assert board.snapshot == ""
