"""What a suite holds in its hands: a decoder of the booted board, and what a share turned out to be.

Frames are compared as the pixels that are to be seen; where they lie in a buffer, the decoder's driver says.
"""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Self

from lab.base.errors import LabError
from lab.base.words import IommuMode, Verdict
from lab.boards import Board
from lab.boards.agent import Agent
from lab.boards.errors import LostBoardError
from lab.boards.facts import Decoder as DecoderEntry
from lab.boards.modes import astray
from lab.media import Coded, FrameLayout
from lab.runs.record import Attempt
from lab.sharing import (
    Allocator,
    BoardFacts,
    DecoderFacts,
    Evidence,
    Judgement,
    Outcome,
    Standing,
    judge,
    settle,
    translated,
)

KEEP_PIXELS = (Verdict.CORRUPT, Verdict.FAULTED, Verdict.INCONCLUSIVE)
"""Verdicts whose frames are kept in the evidence, to be looked at beside their references."""

SHARE_TIMEOUT = 60.0
"""Seconds for one share, all frames of its stream together; the agent gives up sooner where nothing moves."""

LUCKY_TRIES = 3
"""Shares to try while the pages are luckier than the allocator guarantees (`lab.sharing.settle`)."""


@dataclass(frozen=True)
class Share:
    """One share, judged and held against the constraint model. ``raw``: the agent's evidence.

    ``pictures``: the visible pixels of each frame as the consumer read them, in I420.
    """

    allocator: Allocator
    judgement: Judgement
    outcome: Outcome
    raw: dict[str, Any]
    pictures: list[bytes]

    @property
    def verdict(self) -> Verdict:
        """What it turned out to be."""
        return self.outcome.verdict

    @property
    def as_expected(self) -> bool:
        """Whether that is what the constraint model derives for this boot, errno of a refusal included."""
        return self.outcome.passed

    def explain(self) -> str:
        """Why the verdict is what it is, in one line."""
        return self.outcome.reason


@dataclass(frozen=True)
class Needs:
    """What a decoder wants for a stream. ``layout``: of its frames; ``count``: CAPTURE buffers at least."""

    layout: FrameLayout
    count: int

    @property
    def sizes(self) -> list[int]:
        """Bytes of each dma-buf, in the order in which its queue takes them."""
        return list(self.layout.sizes) * self.count

    @classmethod
    def ask(cls, agent: Agent, node: str, stream: Coded) -> Self:
        """Feed the beginning of ``stream`` to the decoder at ``node``, and ask what it wants."""
        asked = {"node": node, "stream": stream.data, "sizes": stream.sizes, "coded": stream.coded}
        size = list(stream.shapes[0])
        found = agent.request("capture_needs", {**asked, "size": size}, timeout=30)
        return cls(FrameLayout.of(found, stream.shapes[0]), found["buffers"])


class Decoder:
    """A decoder of the booted board. What it does is noted in ``attempt``."""

    def __init__(self, board: Board, entry: DecoderEntry, mode: IommuMode, attempt: Attempt) -> None:
        self.board = board
        self.entry = entry
        self.mode = mode
        self._attempt = attempt
        attempt.importer = entry.device

    @property
    def name(self) -> str:
        """Its name in the target file."""
        return self.entry.name

    @property
    def device(self) -> str:
        """Its name on its bus: "0000:00:01.0"."""
        return self.entry.device

    @property
    def node(self) -> str | None:
        """Its video node, or None where its driver did not probe."""
        found = {item["device"]: str(item["node"]) for item in self.board.agent.call("decoders")}
        return found.get(self.entry.device)

    def needs(self, stream: Coded) -> Needs:
        """What its driver wants for ``stream``, asked before anything is decoded.

        Raises LabError where the decoder has no node.
        """
        node = self.node
        if node is None:
            raise LabError(f"{self.entry.device} has no video node")
        return Needs.ask(self.board.agent, node, stream)

    def share(self, stream: Coded, *, call_timeout: float = SHARE_TIMEOUT, **options: Any) -> dict[str, Any]:
        """Have the agent decode ``stream``, damaged or not; the raw evidence (`lab.agent.share.share`).

        ``call_timeout``: seconds for all of it. Raises LostBoardError where the decoder is in another IOMMU
        mode than the board was verified to be in, by its group or by its addresses: a fault of the lab.
        """
        arguments = {
            "stream": stream.data,
            "sizes": stream.sizes,
            "coded": stream.coded,
            "size": list(stream.shapes[0]),
            "device": self.entry.device,
            **options,
        }
        raw: dict[str, Any] = self.board.agent.request("share", arguments, timeout=call_timeout)
        if wrong := astray(self.entry, self.mode, raw["iommu"]["type"]) or self._other_addresses(raw):
            self.board.invalidate(wrong)
            raise LostBoardError(wrong)
        return raw

    def _other_addresses(self, raw: dict[str, Any]) -> str:
        """How the addresses of its mappings speak against the IOMMU mode; empty where they do not."""
        found = translated(raw)
        wanted = self.entry.behind_iommu and self.mode in (IommuMode.TRANSLATED, IommuMode.LAZY)
        if found is None or found == wanted:
            return ""
        seen = "translated" if found else "not translated"
        return f"in IOMMU mode {self.mode} the addresses of decoder {self.name} ({self.device}) are {seen}"

    def decode_into(
        self,
        allocator: Allocator,
        stream: Coded,
        *,
        capture: str | None = None,
        dma_mask: int | None = None,
        note: bool = True,
        **options: Any,
    ) -> Share:
        """Decode ``stream`` into buffers of ``allocator`` on the board; judge what happened, and note it.

        ``capture``: fourcc of the raw format, by default the first one with pixels in rows that the decoder
        offers. ``dma_mask``: bits that the driver was told instead of
        the target's. ``note``: whether this share is the one that the test is about. ``options`` go
        to the agent (`lab.agent.share.share`).
        """
        facts = self.facts(dma_mask)
        memory = BoardFacts.from_raw(self.board.facts)
        for _ in range(LUCKY_TRIES):
            raw = self.share(
                stream,
                allocator=allocator.provider,
                capture=capture,
                copy_control=allocator.copy,
                **options,
            )
            seen = seen_in(raw, stream)
            judgement = judge(Evidence.from_raw(seen), stream.pictures)
            size = largest_buffer(raw) or len(stream.pictures[0])
            outcome = settle(judgement, allocator, facts, memory, self.mode, size=size)
            if outcome.standing is not Standing.UNTESTED:
                break
        share = Share(allocator, judgement, outcome, raw, [frame["data"] for frame in seen["frames"]])
        if note:
            self.note(share, stream)
        return share

    def facts(self, dma_mask: int | None = None) -> DecoderFacts:
        """What it demands of memory; ``dma_mask``: bits that its driver was told instead of the target's."""
        return DecoderFacts(
            name=self.entry.name,
            dma_mask_bits=dma_mask or self.entry.dma_mask,
            device_bits=self.entry.address_bits,
            contiguous=self.entry.contiguous,
            behind_iommu=self.entry.behind_iommu,
        )

    def note(self, share: Share, stream: Coded) -> None:
        """This share is the one that the test is about."""
        attempt = self._attempt
        attempt.verdict = share.verdict
        attempt.errno = share.judgement.errno
        attempt.reasons = share.judgement.reasons
        attempt.expected = share.outcome.expectation.verdict
        attempt.expected_errno = share.outcome.expectation.errno
        attempt.expected_reason = share.outcome.expectation.reason
        keep = share.verdict in KEEP_PIXELS
        attempt.evidence = {**share.raw, "frames": _frames(share, stream, keep=keep)}
        times = share.raw.get("times") or {}
        attempt.metrics.update({f"{stage}_seconds": seconds for stage, seconds in times.items()})
        if share.raw["stage"] == "done":
            attempt.metrics["frames_per_second"] = len(share.raw["frames"]) / times["decode"]


def seen_in(raw: dict[str, Any], stream: Coded) -> dict[str, Any]:
    """The same evidence with the visible pixels of each frame in I420 instead of what lay in its buffers.

    ``payload``: what the decoder writes into each buffer at least, padding included.
    """
    layouts = _layouts(raw, stream)
    frames = [
        {**frame, "data": layouts[frame["format"]].pixels(frame["data"], frame["sizes"])}
        for frame in raw["frames"]
    ]
    sizes = [size for layout in layouts for size in layout.sizes]
    return {**raw, "frames": frames, "payload": min(sizes, default=None)}


def largest_buffer(raw: dict[str, Any]) -> int | None:
    """Bytes of the largest dma-buf that the decoder's format asked for; None where it came to none."""
    sizes = [plane["sizeimage"] for found in raw.get("formats") or () for plane in found["planes"]]
    return max(sizes, default=None)


def _layouts(raw: dict[str, Any], stream: Coded) -> list[FrameLayout]:
    """How frames lie, for each format that the stream came to on its way."""
    shapes = [shape for shape, _ in groupby(stream.shapes)]
    found = raw.get("formats") or []
    return [FrameLayout.of(one, shapes[min(index, len(shapes) - 1)]) for index, one in enumerate(found)]


def _frames(share: Share, stream: Coded, *, keep: bool) -> list[dict[str, Any]]:
    """Frames for the record: hashes; with ``keep`` the pixels and their references, too, as base64."""
    noted = []
    for frame, picture in zip(share.raw["frames"], share.pictures, strict=True):
        entry = {key: value for key, value in frame.items() if key != "data"}
        entry["sha256"] = hashlib.sha256(picture).hexdigest()
        if frame["index"] < len(stream.pictures):
            reference = stream.pictures[frame["index"]]
            entry["reference_sha256"] = hashlib.sha256(reference).hexdigest()
            if keep:
                width, height = stream.shapes[frame["index"]]
                entry["picture"] = {"fourcc": "YU12", "width": width, "height": height}
                entry["reference"] = base64.b64encode(reference).decode()
        if keep:
            entry["data"] = base64.b64encode(picture).decode()
        noted.append(entry)
    return noted
