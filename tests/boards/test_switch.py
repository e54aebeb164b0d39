"""Another IOMMU mode while the board runs: the same as after a boot into it."""

from __future__ import annotations

import pytest

from lab.base.words import IommuMode
from lab.boards import LostBoardError, load_target, switch
from lab.media import sample
from lab.runs.devices import Decoder
from lab.runs.record import Attempt

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


@pytest.mark.board
def test_the_addresses_of_its_mappings_tell_the_mode_as_well(board):
    """Of a decoder that the target's file takes for one without an IOMMU nobody asks sysfs."""
    board.boot(T)
    entry = board.target.decoder("wide").model_copy(update={"behind_iommu": False})
    decoder = Decoder(board, entry, T, Attempt())
    with pytest.raises(LostBoardError, match=r"the addresses of decoder wide .* are translated"):
        decoder.share(sample(16, 16, 1), allocator="heap-cma")


@pytest.mark.board
def test_a_decoder_that_left_its_mode_since_is_no_result_of_that_mode(board):
    """Memory that is shared in every mode would be shared in the wrong one, too: nobody would notice."""
    board.boot(T)
    wide = board.target.decoder("wide")
    decoder = Decoder(board, wide, T, Attempt())
    stream = sample(16, 16, 1)
    options = {"allocator": "heap-cma"}
    assert decoder.share(stream, **options)["stage"] == "done"
    switch.switch(board.agent, board.target, "identity")
    as_said = Decoder(board, wide, P, Attempt())
    assert as_said.share(stream, **options)["stage"] == "done"
    with pytest.raises(LostBoardError, match=r"asked for IOMMU mode translated, .* a group of type identity"):
        decoder.share(stream, **options)
    assert board.mode is None, "the next one boots it"
