"""The verdict against the expected one, and what chance has to do with it.

Where an allocator guarantees nothing, its pages can still be contiguous, or lie within the mask, by luck:
most of all right after boot. Then the decoder rightly accepts what the model, which goes by guarantees,
expects it to refuse. That is neither a failure of the board nor a pass of the refusal. So the model is asked
again, about the pages that were really found: if their verdict is the one that was measured, the cell is
untested in this attempt (verdict inconclusive, reason "by chance"), and another allocation may test it. If
even they do not explain the verdict, it is unexpected.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from lab.base.words import IommuMode, Verdict
from lab.sharing.allocators import Allocator
from lab.sharing.constraints import BoardFacts, DecoderFacts, Layout
from lab.sharing.expect import QCIF_NV12, Expectation, expected, expected_path
from lab.sharing.paths import SharingPath, VmmFacts
from lab.sharing.verdict import Judgement, Pages


class Standing(StrEnum):
    """How a verdict stands to the expected one."""

    EXPECTED = "expected"
    UNEXPECTED = "unexpected"
    UNTESTED = "untested"  # the pages were luckier than the allocator guarantees: try again


@dataclass(frozen=True)
class Outcome:
    """The end of one attempt. ``verdict`` is the judgement's, or inconclusive where luck decided."""

    standing: Standing
    verdict: Verdict
    expectation: Expectation
    reason: str

    @property
    def passed(self) -> bool:
        """The board did what it must."""
        return self.standing is Standing.EXPECTED


def settle(
    judgement: Judgement,
    allocator: Allocator,
    decoder: DecoderFacts,
    board: BoardFacts,
    mode: IommuMode,
    *,
    size: int = QCIF_NV12,
) -> Outcome:
    """Hold ``judgement`` against the constraint model (see the module's text). ``size``: bytes of a frame."""

    def ask(layout: Layout | None) -> Expectation:
        return expected(allocator, decoder, board, mode, size=size, layout=layout)

    return _settle(judgement, ask, _layout(judgement.pages, decoder, board))


def settle_path(
    judgement: Judgement,
    path: SharingPath,
    decoder: DecoderFacts,
    board: BoardFacts,
    vmm: VmmFacts,
    mode: IommuMode,
    *,
    size: int = QCIF_NV12,
) -> Outcome:
    """The same for a sharing path. Raises LabError where a fact that it needs was never looked for."""

    def ask(layout: Layout | None) -> Expectation:
        return expected_path(path, decoder, board, vmm, mode, size=size, layout=layout)

    return _settle(judgement, ask, _layout(judgement.pages, decoder, board))


def _settle(
    judgement: Judgement, ask: Callable[[Layout | None], Expectation], layout: Layout | None
) -> Outcome:
    wanted = ask(None)
    actual = ask(layout) if layout else wanted
    if _meets(judgement, actual):
        if _meets(judgement, wanted):
            return Outcome(Standing.EXPECTED, judgement.verdict, wanted, judgement.reason)
        reason = f"by chance {judgement.verdict}: {actual.reason}; {wanted.verdict} was to be tested"
        return Outcome(Standing.UNTESTED, Verdict.INCONCLUSIVE, wanted, reason)
    reason = f"{judgement.verdict}, expected {wanted.verdict}: {judgement.reason}"
    if actual != wanted:
        reason += f" (and {actual.verdict} for the pages that it got: {actual.reason})"
    return Outcome(Standing.UNEXPECTED, judgement.verdict, wanted, reason)


def _meets(judgement: Judgement, expectation: Expectation) -> bool:
    if judgement.verdict is not expectation.verdict:
        return False
    return judgement.verdict is not Verdict.REFUSED or judgement.errno == expectation.errno


def _layout(pages: Pages | None, decoder: DecoderFacts, board: BoardFacts) -> Layout | None:
    """The measured layout; None where too little of it is known."""
    if pages is None or pages.contiguous is None:
        return None
    return Layout(pages.contiguous, board.reach(pages.lowest, pages.highest, decoder.dma_mask_bits))
