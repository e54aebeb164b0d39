"""What was recorded around one share, checked and typed.

The agent sends plain data (``lab/agent/share.py``); here it becomes ``Evidence``. A source that the
kernel did not give is None and named in ``missing``: it is never taken for "nothing happened".

A sharing path (`lab.sharing.paths`) adds what the agent on the board cannot know, and the host joins it
(`lab.sharing.gather` has the functions that do). Beside the keys of the agent the plain data then has

``path``         name of the path; empty or absent: one importer, one kernel, nothing below applies
``frames``       as before, but ``data`` is what the path's *consumer* read: the guest's bytes, the pixels
                 that the GPU sampled, the bytes read back from the USB disk; in the layout of the references
``payload``      bytes that the decoder writes per frame, where ``frames`` have another layout; else None
``tolerance``    by how much a byte of the consumer may be off, 0 to 8; 0 (exact) by default
``copies``       transfer commands for this resource that the VMM was seen to obey; []: somebody listened from
                 the resource's creation on and none came; None: nobody listened
``dmabuf``       {exporter, inode, size} of the dma-buf that the VMM holds for the guest's resource, as found
                 in its file descriptors; its inode has to be that of ``buffer``, into which the decoder wrote
``guest_pages``  for each 4K page that the decoder had to write to, in any of its buffers, its offset in guest
                 RAM, None for a page that is not the guest's; the whole None where nobody looked
``canaries``     {"host_to_guest", "guest_to_host"}: whether a word written on one side was read on the other,
                 in each of the buffers
``screen``       whether the VMM's screendump shows the frame; None where it has none to give
``consumer``     who read, where it was no CPU: {name, how, device, inode, maps, bounced}; ``inode``: of the
                 dma-buf that it imported; ``device``, ``maps``, ``bounced``: of its DMA, as the importer's
``pages``, ``maps``, ...  of the decoder, as ever; for ``vfio-decoder`` from the guest's kernel

Which of them a path has to have, its ``sources`` say.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from operator import ge
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictInt, StrictStr, ValidationError

from lab.base.errors import LabError
from lab.sharing.constraints import PAGE
from lab.sharing.paths import PATHS, SharingPath


class Stage(StrEnum):
    """How far the experiment got."""

    PROBE = "probe"  # the decoder has no device node
    SETUP = "setup"  # formats and queues
    ALLOCATE = "allocate"  # the buffer
    IMPORT = "import"  # QBUF of the buffer
    DECODE = "decode"
    DONE = "done"  # every frame was dequeued


class _Model(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class FrameRead(_Model):
    """One dequeued frame, read by the consumer through the dma-buf's CPU mapping."""

    index: StrictInt = Field(ge=0)
    error_flag: StrictBool
    bytesused: StrictInt = Field(ge=0)
    data: bytes


class Buffer(_Model):
    """A dma-buf's identity. ``runs``: physically contiguous runs, None where they are not known."""

    exporter: StrictStr
    inode: StrictInt
    size: StrictInt
    runs: StrictInt | None = None


class MapEvent(_Model):
    """One dma_map_sg event. ``phys``: address of each entry; ``dma``: (address, bytes) of each mapped one."""

    device: StrictStr
    nents: StrictInt = Field(ge=0)
    ents: StrictInt = Field(ge=0)
    phys: tuple[StrictInt, ...] = ()
    dma: tuple[tuple[StrictInt, StrictInt], ...] = ()
    truncated: StrictBool = False

    @property
    def bytes(self) -> int:
        """Bytes mapped, as far as they were traced."""
        return sum(length for _, length in self.dma)


class Allocation(_Model):
    """One dma_alloc event."""

    device: StrictStr
    size: StrictInt


class Canaries(_Model):
    """Whether words written on one side were read on the other; None: not tried."""

    host_to_guest: StrictBool | None = None
    guest_to_host: StrictBool | None = None


class Consumer(_Model):
    """Who read the frames. ``how``: in a few words. ``device``: on its bus, where it does DMA of its own."""

    name: StrictStr
    how: StrictStr = ""
    device: StrictStr | None = None
    inode: StrictInt | None = None
    maps: tuple[MapEvent, ...] | None = None
    bounced: StrictInt | None = Field(default=None, ge=0)


SOURCES = (
    "attachments",
    "maps",
    "allocs",
    "bounced",
    "swiotlb_hiwater",
    "faults",
    "copies",
    "canary",
    "buffer",
    "pages",
)
"""The fields that are None where their source is missing."""


class Evidence(_Model):
    """Everything that was recorded around one share; field by field as in lab/agent/share.py.

    ``attachments``: devices attached to each of the buffers while they were queued. ``bounced``: pages of the
    importer that swiotlb bounced. ``swiotlb_hiwater``: most slots in use, before and after. ``copies``: copy
    commands seen on the way to the consumer; None where the path has nobody who could send any, and then also
    named in ``missing`` where there is somebody and nobody listened. ``canary``: the byte that filled the
    buffers before. ``exported``: the buffers are the very ones that the decoder's queue allocated and
    exported; None: nobody said. ``buffer``: the first one that the first frame is in, of ``buffers``;
    ``pages``: physical addresses of the pages of all that it is in. The rest: see the module.
    """

    stage: Stage
    errno: StrictInt | None = None
    message: StrictStr = ""
    importer: StrictStr
    allocator: StrictStr
    frames: tuple[FrameRead, ...] = ()
    buffer: Buffer | None = None
    buffers: tuple[Buffer, ...] = ()
    pages: tuple[StrictInt, ...] | None = None
    attachments: tuple[StrictStr, ...] | None = None
    maps: tuple[MapEvent, ...] | None = None
    allocs: tuple[Allocation, ...] | None = None
    bounced: StrictInt | None = Field(default=None, ge=0)
    swiotlb_hiwater: tuple[StrictInt | None, StrictInt | None] | None = None
    faults: StrictInt | None = Field(default=None, ge=0)
    fault_lines: tuple[StrictStr, ...] = ()
    copies: tuple[StrictStr, ...] | None = None
    refusal_line: StrictStr | None = None
    canary: StrictInt | None = Field(default=None, ge=0, le=255)
    exported: StrictBool | None = None
    path: StrictStr = ""
    payload: StrictInt | None = Field(default=None, gt=0)
    tolerance: StrictInt = Field(default=0, ge=0, le=8)
    dmabuf: Buffer | None = None
    guest_pages: tuple[StrictInt | None, ...] | None = None
    canaries: Canaries | None = None
    screen: StrictBool | None = None
    consumer: Consumer | None = None
    missing: tuple[StrictStr, ...] = ()

    @classmethod
    def from_raw(cls, raw: Mapping[str, Any]) -> Self:
        """From the agent's plain data. Keys that are not known are ignored, sources that are not there count
        as missing.

        Raises LabError where the data cannot be evidence: that is a broken agent, not a verdict.
        """
        path = PATHS.get(raw.get("path") or "")
        if raw.get("path") and path is None:
            raise LabError(f"the evidence is of a path that nobody knows: {raw['path']!r}")
        wanted = dict.fromkeys((*SOURCES, *(path.sources if path else ())))
        unsent = tuple(f"evidence:{name}" for name in wanted if name not in raw)
        try:
            found = cls.model_validate(dict(raw))
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"])
            raise LabError(f"the agent's evidence is broken: {where}: {first['msg']}") from None
        return found.model_copy(update={"missing": found.missing + unsent}) if unsent else found

    def without(self, source: str) -> Self:
        """The same evidence without one of ``SOURCES`` or of the path's sources."""
        return self.model_copy(update={source: None, "missing": (*self.missing, f"evidence:{source}")})

    def plain(self) -> dict[str, Any]:
        """For the result store: everything, with each frame's pixels as their SHA-256."""
        found = self.model_dump(mode="json", exclude={"frames"})
        found["frames"] = [
            frame.model_dump(exclude={"data"}) | {"sha256": hashlib.sha256(frame.data).hexdigest()}
            for frame in self.frames
        ]
        return found

    @property
    def own(self) -> bool:
        """The buffer is one that the decoder itself allocated and exported, in this very experiment.

        One that it exported before and was given back is an import like any other.
        """
        return (
            self.allocator == "decoder-mmap"
            and self.exported is True
            and self.buffer is not None
            and self.buffer.exporter.startswith("videobuf2")
        )

    @property
    def sharing_path(self) -> SharingPath | None:
        """The path that this is evidence of; None: one importer in one kernel."""
        return PATHS.get(self.path)

    def over(self, event: MapEvent) -> bool:
        """Whether the entries, as far as traced, lie on the buffer's pages; True where nobody knows those."""
        if self.pages is None:
            return True
        pages = {page // PAGE for page in self.pages}
        return bool(event.phys) and all(start // PAGE in pages for start in event.phys)

    def mapped(self, events: Iterable[MapEvent]) -> int:
        """Bytes of the buffer's pages in ``events``, as far as traced; what is mapped again counts once."""
        return sum({event.phys: event.bytes for event in events if self.over(event)}.values())

    def whole(self, events: Iterable[MapEvent], least: int) -> bool:
        """Whether each of the buffers has one of ``events`` to itself that maps as much as all of it.

        ``least``: bytes of one where nobody knows how large the buffers are. An event of which the trace cut
        the list maps as much as anybody wants.
        """
        once = {event.phys: event for event in events if event.dma}
        rooms = [sys.maxsize if event.truncated else event.bytes for event in once.values()]
        return _all_fit([buffer.size for buffer in self.buffers] or [least], rooms)

    @property
    def importer_maps(self) -> tuple[MapEvent, ...]:
        """The importer's dma_map_sg events."""
        return tuple(event for event in self.maps or () if event.device == self.importer)

    @property
    def allocated(self) -> bool:
        """Whether the importer was seen to allocate memory of its own for each of the buffers."""
        rooms = [one.size for one in self.allocs or () if one.device == self.importer]
        return bool(self.buffers) and _all_fit([buffer.size for buffer in self.buffers], rooms)


def _all_fit(sizes: Sequence[int], rooms: Sequence[int]) -> bool:
    """Whether each of ``sizes`` gets one of ``rooms`` to itself."""
    largest = sorted(rooms, reverse=True)
    return len(rooms) >= len(sizes) and all(map(ge, largest, sorted(sizes, reverse=True)))
