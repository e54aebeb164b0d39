"""From evidence to verdict: one pure function.

The pixels come first: the consumer has to see exactly what the reference decoder says. Right pixels alone
are not zero-copy: a copy has right pixels too. Zero-copy needs positive evidence (the importer attached to
this very buffer and mapped its pages, or allocated it itself) and the absence of every sign of a copy,
seen by sources that were there to see it. Anything less is inconclusive and says what is missing.
A sharing path has more sources, and each of them has its say (`lab.sharing.crossing`).
"""

from __future__ import annotations

import errno
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from lab.base.words import Verdict
from lab.sharing import crossing
from lab.sharing.constraints import PAGE
from lab.sharing.evidence import Evidence, Stage
from lab.sharing.pixels import Pixels, compare, looks_like


@dataclass(frozen=True)
class Pages:
    """Where the buffer's pages were found. ``contiguous``: in one run (None: unknown)."""

    contiguous: bool | None
    lowest: int
    highest: int


@dataclass(frozen=True)
class Judgement:
    """What a share was. ``reasons``: the decisive one first. ``pages``: None where nobody could tell."""

    verdict: Verdict
    reasons: tuple[str, ...]
    errno: int | None = None
    pixels: Pixels | None = None
    pages: Pages | None = None

    @property
    def reason(self) -> str:
        """The one line that matters."""
        return self.reasons[0] if self.reasons else ""


_FOR_NOW = {errno.EAGAIN, errno.ENOMEM, errno.EINTR, errno.ETIMEDOUT, errno.EBUSY}
"""Failures of this moment, which say nothing about what the board can do."""

_NO_EVIDENCE = (
    "trace:vb2:",
    "trace:v4l2:",
    "trace:iommu:",
    "trace:dma:dma_alloc",
    "trace:dma:dma_map_sg_err",
)
"""Sources that no rule here needs, or whose fields are asked for below where one does."""


def judge(evidence: Evidence, references: Sequence[bytes]) -> Judgement:
    """The verdict on one share. ``references``: the frames in order, laid out as in the buffer."""
    pages = find_pages(evidence)
    if evidence.stage not in (Stage.DECODE, Stage.DONE):
        verdict, reason = _not_shared(evidence)
        return Judgement(verdict, (reason,), evidence.errno, None, pages)
    pixels = compare(evidence.frames, references, evidence.canary, evidence.tolerance)
    verdict, reasons = _shared(evidence, references, pixels)
    return Judgement(verdict, tuple(reasons), evidence.errno, pixels, pages)


def _not_shared(evidence: Evidence) -> tuple[Verdict, str]:
    """No frame was decoded: which call failed, and what that says."""
    name = errno.errorcode.get(evidence.errno or 0, f"errno {evidence.errno}")
    text = f"{name}: {evidence.message}" if evidence.message else name
    if evidence.errno is None:
        return Verdict.INCONCLUSIVE, f"ended at {evidence.stage} without an error number"
    if evidence.errno in _FOR_NOW:
        return Verdict.INCONCLUSIVE, f"{evidence.stage}: {text}"
    if evidence.stage is Stage.IMPORT:
        return Verdict.REFUSED, f"{name}: {evidence.refusal_line or evidence.message or 'import refused'}"
    if evidence.stage is Stage.SETUP:
        return Verdict.INCONCLUSIVE, f"the decoder could not be set up: {text}"
    return Verdict.UNSUPPORTED, f"{evidence.stage}: {text}"


def _shared(evidence: Evidence, references: Sequence[bytes], pixels: Pixels) -> tuple[Verdict, list[str]]:
    """The decoder ran: what its frames and their surroundings say."""
    if not references or any(not reference for reference in references):
        return Verdict.INCONCLUSIVE, ["there is no reference to hold the frames against"]
    unfinished = evidence.stage is Stage.DECODE and pixels.arrived_right
    if not pixels.right and not unfinished:
        verdict = Verdict.FAULTED if evidence.faults else Verdict.CORRUPT
        return verdict, [*_wrong(evidence, pixels), *crossing.signs(evidence)]
    if evidence.screen is False:
        return Verdict.CORRUPT, ["the VMM's screen shows another picture than the guest reads"]
    if evidence.faults:
        return Verdict.FAULTED, [f"{_fault(evidence)}, though the pixels that came are right"]
    if unfinished:
        name = errno.errorcode.get(evidence.errno or 0, "no error")
        reason = (
            f"decoding stopped after {pixels.seen} of {pixels.wanted} frames ({name}: {evidence.message})"
        )
        return Verdict.INCONCLUSIVE, [reason]
    if signs := _signs_of_copy(evidence):
        return Verdict.COPIED, signs
    if gaps := _gaps(evidence, references):
        return Verdict.INCONCLUSIVE, gaps
    return Verdict.ZERO_COPY, _proof(evidence, pixels)


def _wrong(evidence: Evidence, pixels: Pixels) -> list[str]:
    reasons = []
    state = "ERROR" if pixels.error_flags else "DONE"
    if pixels.different:
        text = f"decoder reported {state}, {pixels.different} of {pixels.compared} bytes differ"
        if evidence.bounced:
            text += f"; {evidence.bounced} pages bounced (swiotlb) and were never copied back"
        reasons.append(text)
        if evidence.canary is not None:
            reasons.append(f"{pixels.untouched} of them still hold the canary")
    if pixels.error_flags:
        reasons.append(f"the decoder marked {pixels.error_flags} of {pixels.seen} frames as bad")
    if pixels.seen != pixels.wanted:
        reasons.append(f"{pixels.seen} frames came, {pixels.wanted} were sent")
    if pixels.stale is not None:
        reasons.append(f"frame {pixels.first_wrong} shows frame {pixels.stale}")
    if not reasons:
        reasons.append(f"frame {pixels.first_wrong} is shorter than sent, or out of order")
    if evidence.faults:
        reasons.insert(0, f"{_fault(evidence)}; {reasons[0]}")
    elif evidence.faults is None:
        reasons.append("whether the IOMMU faulted is not known")
    return reasons


def _fault(evidence: Evidence) -> str:
    line = f" ({evidence.fault_lines[0]})" if evidence.fault_lines else ""
    return f"{evidence.faults} IOMMU faults{line}"


def _signs_of_copy(evidence: Evidence) -> list[str]:
    """What shows that the data went another way than through shared pages."""
    signs = []
    if evidence.bounced:
        signs.append(f"{evidence.bounced} pages bounced (swiotlb)")
    if evidence.copies:
        signs.append(f"{len(evidence.copies)} copy commands, first {evidence.copies[0]}")
    signs += crossing.signs(evidence)
    if evidence.own:
        return signs
    if evidence.attachments is not None and evidence.importer not in evidence.attachments:
        signs.append("the decoder was never attached to the buffer")
    if evidence.maps is not None and not _lossy(evidence):
        if not evidence.importer_maps:
            signs.append("the decoder never mapped the buffer")
        elif evidence.pages is not None and not any(evidence.over(event) for event in evidence.importer_maps):
            signs.append("the decoder mapped other pages than the buffer's")
    return signs


def _gaps(evidence: Evidence, references: Sequence[bytes]) -> list[str]:
    """What has to be known for zero-copy and is not."""
    needed = evidence.payload or max(map(len, references))
    gaps = crossing.gaps(evidence, needed)
    if evidence.errno is not None:
        gaps.append(f"all frames came, and yet a call failed ({evidence.message or evidence.errno})")
    if evidence.canary is None:
        gaps.append("not known: what the buffer held before")
    elif any(looks_like(reference, evidence.canary, evidence.tolerance) for reference in references):
        gaps.append("a reference frame looks like the canary")
    if evidence.buffer is None:
        gaps.append("not known: which dma-buf it was")
    whole = evidence.whole(evidence.importer_maps, needed)
    if evidence.own:
        if not evidence.allocated and not whole:
            gaps.append("not seen: the decoder's own allocation of each buffer (dma_alloc)")
    else:
        if evidence.attachments is None:
            gaps.append("not known: who is attached to the buffer (bufinfo)")
        if evidence.maps is None:
            gaps.append("not known: what the decoder mapped (dma_map_sg)")
        elif not whole:
            gaps.append("not seen: the decoder mapping the whole of each buffer (dma_map_sg)")
        elif not _maps_all_pages(evidence):
            gaps.append("not seen: the decoder mapping all pages that the frame is in (dma_map_sg)")
    if evidence.bounced is None:
        gaps.append("not known: whether pages bounced (swiotlb_bounced)")
    gaps += _hiwater_gaps(evidence)
    if evidence.faults is None:
        gaps.append("not known: whether the IOMMU faulted")
    gaps += [f"missing: {name}" for name in evidence.missing if _matters(name, evidence)]
    return gaps


def _hiwater_gaps(evidence: Evidence) -> list[str]:
    before, after = evidence.swiotlb_hiwater or (None, None)
    if before is None or after is None:
        return ["not known: swiotlb's high-water mark"]
    if after > before:
        # Nobody saw the importer bounce, but somebody did: it may be another device.
        return [f"swiotlb's high-water mark rose from {before} to {after} slots"]
    return []


def _matters(name: str, evidence: Evidence) -> bool:
    """Whether a missing source could have shown a copy."""
    if name.startswith(_NO_EVIDENCE):
        return False
    if evidence.own and ("bufinfo" in name or name == "evidence:attachments"):
        return False
    return not (name == "evidence:allocs" and not evidence.own)


def _lossy(evidence: Evidence) -> bool:
    """The trace lost events, so that what it does not show may have happened."""
    return any("lost" in name for name in evidence.missing)


def _maps_all_pages(evidence: Evidence) -> bool:
    """Of each dma-buf that the frame is in; true where the trace cut their list, or they are not known."""
    events = evidence.importer_maps
    cut = any(event.truncated and evidence.over(event) for event in events)
    return cut or evidence.mapped(events) >= PAGE * len(evidence.pages or ())


def _proof(evidence: Evidence, pixels: Pixels) -> list[str]:
    exact = f"all {pixels.compared} bytes of {pixels.seen} frames are right"
    if evidence.tolerance:
        exact += f" within {evidence.tolerance}"
    if evidence.own:
        found = [f"{exact}, in the decoder's own allocation", "nothing bounced, no fault"]
        return found + crossing.proof(evidence)
    event = evidence.importer_maps[-1]
    inode = evidence.buffer.inode if evidence.buffer else "?"
    known = " over the buffer's pages" if evidence.pages is not None else ""
    return [
        f"{exact}; the decoder is attached to inode {inode}",
        f"{event.nents} pages or runs mapped as {event.ents}{known}",
        "nothing bounced, no fault",
        *crossing.proof(evidence),
    ]


def find_pages(evidence: Evidence) -> Pages | None:
    """Where the buffer lies: from its own pages, or else from what the importer mapped last."""
    addresses = list(evidence.pages or ())
    if not addresses and evidence.importer_maps and not evidence.own:
        last = evidence.importer_maps[-1]
        addresses = [] if last.truncated else list(last.phys)
    if not addresses:
        return None
    return Pages(_contiguous(evidence), min(addresses), max(addresses))


def _contiguous(evidence: Evidence) -> bool | None:
    """One run or several: several as soon as one of the buffers is known to have them."""
    known = [buffer.runs for buffer in evidence.buffers or filter(None, (evidence.buffer,))]
    if any(runs is not None and runs > 1 for runs in known):
        return False
    if known and None not in known:
        return True
    if evidence.pages and len(evidence.buffers) <= 1:
        pages = evidence.pages
        return all(after == before + PAGE for before, after in pairwise(pages))
    return None
