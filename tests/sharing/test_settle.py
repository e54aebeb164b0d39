"""Measured against expected, and what luck does."""

import errno
from dataclasses import replace

import pytest
from hypothesis import given

from lab.base.words import IommuMode, Verdict
from lab.sharing import ALLOCATORS, Evidence, Standing, judge, settle
from tests.sharing import scenes
from tests.sharing.scenes import GIB, LARGE, REFERENCES, SMALL, WIDE
from tests.sharing.test_expect import allocators, boards, decoders, modes
from tests.sharing.test_verdict import any_evidence, small

OFF, ON = IommuMode.OFF, IommuMode.TRANSLATED


def outcome(raw, name, board=SMALL, mode=OFF):
    judgement = judge(Evidence.from_raw(raw), REFERENCES)
    return settle(judgement, ALLOCATORS[name], WIDE, board, mode)


def contiguous(base=2 * GIB, **changes):
    """A buffer whose pages happen to form one run, imported without translation, all right."""
    pages = scenes.run_of_pages(base)
    buffer = {"exporter": "drm", "inode": 14, "size": 40960, "runs": 1}
    return (
        scenes.shared(
            allocator="vgem", buffer=buffer, buffers=[buffer], pages=None, maps=[scenes.mapped(pages)]
        )
        | changes
    )


def test_expected_verdicts_pass():
    assert outcome(scenes.shared(), "udmabuf-4k", mode=ON).passed
    assert outcome(scenes.own(), "decoder-mmap").passed
    assert outcome(scenes.refused(), "udmabuf-4k").passed
    assert outcome(scenes.bounced(), "udmabuf-4k", LARGE).passed
    assert outcome(scenes.bounced(back=True), "heap-system", LARGE).passed
    assert outcome(scenes.control(), "copied").passed


def test_huge_pages_pass_where_contiguity_is_guaranteed():
    assert outcome(contiguous(), "udmabuf-2m").passed


def test_accidental_contiguity_is_untested_not_passed():
    found = outcome(contiguous(), "vgem")
    assert found.standing is Standing.UNTESTED
    assert found.verdict is Verdict.INCONCLUSIVE
    assert not found.passed
    assert "by chance zero-copy: one physical run" in found.reason


def test_pages_below_the_mask_by_chance_are_untested():
    found = outcome(scenes.refused(), "udmabuf-4k", LARGE)
    assert found.standing is Standing.UNTESTED
    assert "corrupt was to be tested" in found.reason


def test_acceptance_of_scattered_pages_is_no_luck():
    pages = scenes.scattered()
    found = outcome(scenes.shared(maps=[scenes.mapped(pages)]), "udmabuf-4k")
    assert found.standing is Standing.UNEXPECTED
    assert found.verdict is Verdict.ZERO_COPY
    assert "for the pages that it got" not in found.reason, "the same was expected of them"


def test_refusal_of_a_contiguous_buffer_is_no_pass_of_the_refusal():
    found = outcome(contiguous(stage="import", errno=errno.EFAULT, frames=[]), "vgem")
    assert found.standing is Standing.UNEXPECTED
    assert "zero-copy for the pages that it got" in found.reason


def test_one_scattered_buffer_among_several_is_enough():
    pages = scenes.scattered()
    runs = [{"exporter": "drm", "inode": 14 + i, "size": 40960, "runs": n} for i, n in enumerate((1, 10))]
    raw = scenes.refused(
        allocator="vgem", buffer=runs[0], buffers=runs, pages=None, maps=[scenes.mapped(pages)]
    )
    assert outcome(raw, "vgem").passed


def test_wrong_errno_is_unexpected():
    assert outcome(scenes.refused(errno=errno.EINVAL), "udmabuf-4k").standing is Standing.UNEXPECTED


def test_of_what_is_unsupported_the_board_may_say_why_in_its_own_number():
    raw = scenes.shared(stage="probe", errno=errno.EIO, frames=[])
    facts = replace(SMALL, heaps=("system",))
    assert outcome(raw | {"allocator": "heap-cma"}, "heap-cma", facts).expectation.errno == errno.ENODEV
    assert outcome(raw | {"allocator": "heap-cma"}, "heap-cma", facts).passed


def test_pages_of_which_nobody_knows_how_they_lie_excuse_nothing():
    """A refusal of contiguous memory, which scattered pages would explain, and nobody saw any."""
    unknown = scenes.shared()["buffer"] | {"runs": None}
    found = outcome(scenes.refused(buffer=unknown, buffers=[unknown] * 2, pages=None), "udmabuf-2m")
    assert found.standing is Standing.UNEXPECTED
    assert found.verdict is Verdict.REFUSED


def test_silent_loss_where_refusal_was_due():
    found = outcome(scenes.bounced(pages=None, maps=[]), "udmabuf-4k")
    assert found.standing is Standing.UNEXPECTED
    assert found.reason.startswith("corrupt, expected refused: decoder reported DONE")


@given(any_evidence, allocators, decoders, boards, modes)
def test_only_the_expected_verdict_passes(raw, allocator, decoder, board, mode):
    judgement = judge(Evidence.from_raw(raw), small)
    found = settle(judgement, allocator, decoder, board, mode)
    if found.passed:
        assert judgement.verdict is found.expectation.verdict is found.verdict
    if found.standing is Standing.UNTESTED:
        assert found.verdict is Verdict.INCONCLUSIVE
    assert "\n" not in found.reason


@pytest.mark.parametrize("name", ["vgem", "virtio-gpu-dumb", "udmabuf-4k", "heap-system"])
def test_luck_is_never_a_pass_of_a_refusal(name):
    assert not outcome(contiguous(), name).passed
