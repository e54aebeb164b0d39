"""What was recorded around one share, checked and typed.

The agent sends plain data (``lab/agent/share.py``); here it becomes ``Evidence``. A source that the
kernel did not give is None and named in ``missing``: it is never taken for "nothing happened".
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from enum import StrEnum
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictInt, StrictStr, ValidationError

from lab.base.errors import LabError


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

    ``attachments``: devices attached to the buffer while it was queued. ``bounced``: pages of the importer
    that swiotlb bounced. ``swiotlb_hiwater``: most slots in use, before and after. ``copies``: copy
    commands seen on the way to the consumer; None where the path has nobody who could send any, and
    then also named in ``missing`` where there is somebody and nobody listened. ``canary``: the byte that
    filled the buffer before. ``pages``: physical addresses of the buffer's pages.
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
    missing: tuple[StrictStr, ...] = ()

    @classmethod
    def from_raw(cls, raw: Mapping[str, Any]) -> Self:
        """From the agent's plain data. Keys that are not known are ignored, sources that are not there count
        as missing.

        Raises LabError where the data cannot be evidence: that is a broken agent, not a verdict.
        """
        unsent = tuple(f"evidence:{name}" for name in SOURCES if name not in raw)
        try:
            found = cls.model_validate(dict(raw))
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"])
            raise LabError(f"the agent's evidence is broken: {where}: {first['msg']}") from None
        return found.model_copy(update={"missing": found.missing + unsent}) if unsent else found

    def without(self, source: str) -> Self:
        """The same evidence as a kernel would have given it that lacks one of ``SOURCES``."""
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
        """The buffer is one that the decoder itself allocated and exported."""
        return (
            self.allocator == "decoder-mmap"
            and self.buffer is not None
            and self.buffer.exporter.startswith("videobuf2")
        )

    @property
    def importer_maps(self) -> tuple[MapEvent, ...]:
        """The importer's dma_map_sg events."""
        return tuple(event for event in self.maps or () if event.device == self.importer)
