"""One sharing path on the booted board: the experiment is done, judged and noted."""

from __future__ import annotations

import errno
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from lab.base.errors import BoardError, LabError
from lab.boards.agent import Agent
from lab.boards.errors import RefusedVmmError
from lab.boards.guest import Guest
from lab.boards.vmm import Vmm
from lab.boards.vmms.version import title
from lab.media import Coded, FrameLayout, Recorded
from lab.runs.devices import LUCKY_TRIES, Decoder, Share, largest_buffer, seen_in
from lab.runs.record import Attempt
from lab.sharing import (
    PATHS,
    BoardFacts,
    Evidence,
    SharingPath,
    Standing,
    VmmFacts,
    across,
    ended,
    given_up,
    judge,
    settle_path,
    transfers,
)

Held = TypeVar("Held")

ENDS = 15.0
"""Seconds for the VMM to come to what the guest has sent."""
BEGINS = 2.0
"""Seconds after which a trace that does not show the resource at all shows nothing of it."""
LOOK = 0.05
"""Seconds between two looks into its trace, which is on the board."""


@dataclass(frozen=True)
class Shared:
    """What an experiment found. ``stream``: of which its consumer ought to have read the pictures.

    ``seen``: the evidence with what it read as pixels (`lab.runs.devices.seen_in`). ``size``: bytes of the
    decoder's buffer.
    """

    raw: dict[str, Any]
    seen: dict[str, Any]
    facts: VmmFacts
    stream: Coded
    size: int


class Crossing:
    """A path of the matrix on one board, for one attempt at a test.

    ``decoder`` is the board's first. The guest is that of the configuration that was asked for last.
    """

    def __init__(self, decoder: Decoder, attempt: Attempt) -> None:
        self.decoder = decoder
        self.board = decoder.board
        self._attempt = attempt
        self._guest: Guest | None = None
        self._console = 0
        self._spent = False

    @property
    def agent(self) -> Agent:
        """The agent on the board."""
        return self.board.agent

    def guest(self, **changes: Any) -> Guest:
        """The running guest of the target's configuration with ``changes``, started where there is none.

        Raises LabError (MISS) with the guest's last words where it does not come up.
        """
        configured = self.board.target.vmm or Vmm()
        wanted = configured.model_copy(update=changes)
        guest = self.board.guest(wanted)
        if guest is not self._guest:
            self._guest = guest
            self._console = guest.mark()
            image = self.board.image
            self._attempt.environment["vmm"] = title(wanted, guest.version, image.own if image else {})
            self._attempt.metrics.update(
                {f"guest_{stage}_seconds": seconds for stage, seconds in guest.times.items()}
            )
        return guest

    def prove(self, path: SharingPath | str, experiment: Callable[[Crossing], Shared]) -> Share:
        """Do ``experiment``, judge what it found, hold it against the constraint model, and note it.

        Raises what ``experiment`` does; LostGuestError for a failure on the board whose cause is that the VMM
        or its guest has gone, for that says nothing about the board.

        A VMM that somebody chose may lack what a path needs: that is unsupported, in its words. Where it is
        the image's own, that is no news about boards, but something broken: MISS.
        """
        wanted = PATHS[path] if isinstance(path, str) else path
        for _ in range(LUCKY_TRIES):
            try:
                shared = experiment(self)
            except BoardError:
                if self._guest is not None:
                    self._guest.check()
                raise
            except RefusedVmmError as error:
                if not self._chosen or not wanted.requires:
                    raise
                shared = self._refused(wanted, error.hint)
            judgement = judge(Evidence.from_raw(shared.seen), shared.stream.pictures)
            outcome = settle_path(
                judgement,
                wanted,
                self.decoder.facts(),
                BoardFacts.from_raw(self.board.facts),
                shared.facts,
                self.decoder.mode,
                size=shared.size,
            )
            if outcome.standing is not Standing.UNTESTED:
                break
        pictures = [frame["data"] for frame in shared.seen["frames"]]
        share = Share(wanted.allocator, judgement, outcome, shared.raw, pictures)
        self.decoder.note(share, shared.stream)
        return share

    @property
    def _chosen(self) -> bool:
        """Whether the VMM is not the one that the image has for its boards."""
        configured = self.board.target.vmm or Vmm()
        return configured.binary != ""

    def _refused(self, path: SharingPath, said: str) -> Shared:
        """A path that ended because the VMM knows no such thing."""
        raw = ended(path.name, "probe", errno.ENODEV, said, importer=self.decoder.device)
        facts = VmmFacts.from_raw(dict.fromkeys(path.requires, (False, said)))
        return Shared(raw, raw, facts, Recorded("nothing", "", b"", [], [], []), 0)

    def share(self, stream: Coded, *, handles: list[int], allocator: str) -> dict[str, Any]:
        """Have the board's decoder write one of the buffers; raw evidence (`lab.agent.share.share`)."""
        return self.decoder.share(stream, allocator=allocator, handles=handles)

    def shared(self, raw: dict[str, Any], facts: VmmFacts, stream: Coded, *, packed: str = "") -> Shared:
        """What an experiment found; ``packed``: fourcc of frames that its consumer read without a gap."""
        size = largest_buffer(raw) or len(stream.pictures[0])
        if packed:
            shapes = zip(raw["frames"], stream.shapes, strict=False)
            layouts = [(frame, FrameLayout.packed(packed, *shape)) for frame, shape in shapes]
            frames = [{**frame, "data": layout.pixels(frame["data"])} for frame, layout in layouts]
            return Shared(raw, {**raw, "frames": frames}, facts, stream, size)
        return Shared(raw, seen_in(raw, stream), facts, stream, size)

    def spend(self) -> None:
        """The guest was given what others want: it serves no other test."""
        self._spent = True

    def finish(self) -> None:
        """Take the guest's words into the attempt's log; close in the guest what the test opened."""
        guest, self._guest = self._guest, None
        if guest is None:
            return
        said = guest.console_since(self._console)
        if said:
            self._attempt.log += f"\n--- guest ---\n{said}"
        try:
            guest.agent.call("reset", timeout=10)
        except LabError:
            self._attempt.detail = guest.last_words()
        if self._spent or guest.vmm.video == "vfio":
            self.board.end_guest()


def unsupported(path: str, facts: VmmFacts, decoder: Decoder, stream: Coded) -> Shared | None:
    """What is to be said of ``path`` where something that it requires is not there; None where all is."""
    if decoder.node is None:  # the agent knows why
        raw = across(decoder.share(stream, allocator="decoder-mmap"), path)
        return Shared(raw, raw, facts, stream, len(stream.pictures[0]))
    return lacking(path, facts, decoder, stream)


def lacking(path: str, facts: VmmFacts, decoder: Decoder, stream: Coded) -> Shared | None:
    """As `unsupported`, of what ``path`` requires of guest and VMM alone: the decoder may be the guest's."""
    for name in PATHS[path].requires:
        if name in facts.capabilities and (reason := facts.lacks(name)):
            raw = ended(path, "probe", errno.ENODEV, reason, importer=decoder.device)
            return Shared(raw, raw, facts, stream, len(stream.pictures[0]))
    return None


def in_frame(raw: dict[str, Any], held: Sequence[Held]) -> list[Held]:
    """Of what is held for each dma-buf of the decoder's queue, that of those which the frame is in.

    One for each memory plane. The decoder fills whichever buffer it likes; where it filled none, the first.
    """
    planes = len(raw["formats"][0]["planes"]) if raw["formats"] else 1
    first = raw["frames"][0]["buffer"] * planes if raw["frames"] else 0
    return list(held[first : first + planes])


def identity(raw: dict[str, Any], held: Sequence[dict[str, Any] | None]) -> dict[str, Any] | None:
    """Which dma-buf somebody holds for the frame. ``held``: of each in the decoder's queue; None: not known.

    Of a frame in several dma-bufs the first one that is another than the decoder wrote, if there is any.
    """
    theirs, wrote = in_frame(raw, held), in_frame(raw, raw["buffers"])
    wrong = [
        one
        for one, other in zip(theirs, wrote, strict=False)
        if one is None or one["inode"] != other["inode"]
    ]
    return (wrong or theirs)[0]


def read_frame(agent: Agent, raw: dict[str, Any], handles: Sequence[int]) -> list[bytes]:
    """What an agent reads of the frame, plane by plane. ``handles``: of those that it is in (`in_frame`)."""
    sizes = raw["frames"][0]["sizes"]
    return [agent.call("read", handle=handle, size=size) for handle, size in zip(handles, sizes, strict=True)]


def copies(guest: Guest, begin: int, resources: Iterable[int]) -> list[str] | None:
    """What the VMM transferred of ``resources`` that the guest has given up; None where nobody listened."""
    found = []
    for resource in resources:
        if (lines := _copies(guest, begin, resource)) is None:
            return None
        found += lines
    return found


def _copies(guest: Guest, begin: int, resource: int) -> list[str] | None:
    """Of one resource.

    The guest's driver hardly waits for what it sends (50 ms for a flush; Linux, drivers/gpu/drm/virtio/
    virtgpu_plane.c), so on a busy board commands are still to come after its calls have returned. They
    are all there when the resource's end is. ``begin``: the trace's mark from before it was made.
    Raises LabError where its end does not come.
    """
    began = time.monotonic()
    while True:
        lines = guest.trace_since(begin)
        found = transfers(lines, resource=resource)
        waited = time.monotonic() - began
        if given_up(lines, resource=resource) or (found is None and waited > BEGINS):
            return found
        if waited > ENDS:
            raise LabError(f"the VMM does not come to the end of the guest's resource {resource:#x}")
        time.sleep(LOOK)


def facts_of(
    capabilities: Mapping[str, tuple[bool, str]], guest: Guest | None = None, **options: Any
) -> VmmFacts:
    """The facts that a path is judged by; of the guest, where there is one, its memory and its backing."""
    if guest is None:
        return VmmFacts.from_raw(capabilities, **options)
    return VmmFacts.from_raw(capabilities, guest.agent.call("facts"), backing=guest.vmm.backing, **options)
