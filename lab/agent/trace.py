"""An own tracefs instance that records what the DMA layer does for a device, and the parser of its text.

Line formats: include/trace/events/dma.h, swiotlb.h, iommu.h of Linux 6.12; `Documentation/trace/ftrace.rst`
for the columns before the event.
"""

from __future__ import annotations

import os
import re

from . import files

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

TRACEFS = "/sys/kernel/tracing"
INSTANCE = "sharelab"
BUFFER_KB = 256  # a CPU; a share makes some hundred events of up to 6 KB (128 scatter entries)

# What proves or disproves sharing. Kernels lack some of them: see `Trace.missing`.
EVENTS = (
    "dma/dma_map_sg",
    "dma/dma_map_sg_err",
    "dma/dma_alloc",
    "dma/dma_alloc_pages",
    "dma/dma_alloc_sgt",
    "iommu/map",
    "swiotlb/swiotlb_bounced",
    "vb2/vb2_buf_queue",
    "vb2/vb2_buf_done",
    "v4l2/v4l2_qbuf",
    "v4l2/v4l2_dqbuf",
)

_LINE = re.compile(r"\[\d+\] \S+ +(\d+\.\d+): (\w+): (.*)$")
_FIELD = re.compile(r"(\w+)=(\{[^}]*\}|\S*)")


def events(text: str) -> list[tuple[float, str, str]]:
    """Split the text of a ``trace`` file into (seconds since boot, event, its own text)."""
    matches = (_LINE.search(line) for line in text.splitlines())
    return [(float(match[1]), match[2], match[3]) for match in matches if match]


def _fields(text: str) -> dict[str, str]:
    return dict(_FIELD.findall(text))


def _array(text: str) -> list[int]:
    return [int(word, 16) for word in text.strip("{}").split(",") if word]


def parse_map_sg(text: str) -> dict[str, Any]:
    """Parse the text of one ``dma_map_sg`` event.

    Returns ``device``; ``nents``, ``ents``: full numbers of entries before and after mapping; ``phys``: the
    physical address of each entry; ``dma``: ``[address, bytes]`` of each mapped one; ``truncated``: the lists
    stop at 128 entries (DMA_TRACE_MAX_ENTRIES).
    """
    field = _fields(text)
    return {
        "device": text.split(" ", 1)[0],
        "direction": field["dir"],
        "nents": int(field["nents"].rpartition("/")[2]),
        "ents": int(field["ents"].rpartition("/")[2]),
        "phys": _array(field["phys_addrs"]),
        "dma": [list(pair) for pair in zip(_array(field["dma_addrs"]), _array(field["sizes"]), strict=True)],
        "truncated": "[TRUNCATED]" in text,
    }


def parse_alloc(text: str) -> dict[str, Any]:
    """Parse ``dma_alloc``, ``dma_alloc_pages``, ``dma_alloc_sgt``: ``device``, ``dma``, ``size``, ``phys``.

    ``phys`` is the list of the third, ``None`` for the others, which print a hashed kernel pointer.
    """
    field = _fields(text)
    return {
        "device": text.split(" ", 1)[0],
        "dma": int(field["dma_addr"], 16),
        "size": int(field["size"]),
        "phys": _array(field["phys_addrs"]) if "phys_addrs" in field else None,
    }


def parse_iommu_map(text: str) -> list[int]:
    """Parse ``iommu:map`` into ``[iova, physical address, bytes]``."""
    words = text.replace("=", " ").split()
    return [int(words[2], 16), int(words[6], 16), int(words[8])]


def summary(text: str, device: str) -> dict[str, Any]:
    """Gather what a trace says about one device.

    ``maps``, ``allocs``: parsed events; ``map_errors``: texts of dma_map_sg_err; ``bounced``: number of
    swiotlb_bounced events; ``iommu_maps``: of every device (the event names none); ``queue``: event -> count
    of the vb2 and v4l2 events of every device.
    """
    found: dict[str, Any] = {
        "maps": [],
        "allocs": [],
        "map_errors": [],
        "bounced": 0,
        "iommu_maps": [],
        "queue": {},
    }
    for _, name, rest in events(text):
        if name.startswith(("vb2_", "v4l2_")):
            found["queue"][name] = found["queue"].get(name, 0) + 1
        elif name == "map":
            found["iommu_maps"].append(parse_iommu_map(rest))
        elif name == "swiotlb_bounced":
            found["bounced"] += rest.startswith(f"dev_name: {device} ")
        elif not rest.startswith(f"{device} "):
            continue
        elif name == "dma_map_sg":
            found["maps"].append(parse_map_sg(rest))
        elif name == "dma_map_sg_err":
            found["map_errors"].append(rest)
        elif name.startswith("dma_alloc"):
            found["allocs"].append(parse_alloc(rest))
    return found


def runs(phys: list[int], dma: list[list[int]], size: int) -> int:
    """Count the physically contiguous runs of a mapped buffer of ``size`` bytes from its scatter list.

    An entry's own length is not traced where the IOMMU merged entries. Then entries are single pages if there
    are enough of them for that; or else runs that the exporter merged already, so that none adjoins the next.
    """
    if len(dma) == len(phys):
        lengths = [length for _, length in dma]
    elif len(phys) * 4096 >= size:
        lengths = [4096] * len(phys)
    else:
        return len(phys)
    ends = [start + length for start, length in zip(phys, lengths, strict=True)]
    return 1 + sum(start != end for start, end in zip(phys[1:], ends, strict=False))


class Trace:
    """A tracefs instance. Kept for the agent's life: enabling events costs more than tracing a share."""

    def __init__(self, instance: str = INSTANCE, wanted: tuple[str, ...] = EVENTS) -> None:
        """``wanted``: events as ``system/event``; those that this kernel lacks are named in ``missing``."""
        self.folder = f"{TRACEFS}/instances/{instance}"
        if not os.path.isdir(self.folder):  # a killed agent leaves it behind
            os.mkdir(self.folder)
        files.write(f"{self.folder}/tracing_on", "0")
        files.write(f"{self.folder}/buffer_size_kb", str(BUFFER_KB))
        self.missing = []
        for event in wanted:
            try:
                files.write(f"{self.folder}/events/{event}/enable", "1")
            except OSError:
                self.missing.append(f"trace:{event.replace('/', ':')}")

    def start(self) -> None:
        """Forget what was recorded and record."""
        files.write(f"{self.folder}/trace", "")
        files.write(f"{self.folder}/tracing_on", "1")

    def stop(self) -> None:
        """Record no more."""
        files.write(f"{self.folder}/tracing_on", "0")

    def text(self) -> str:
        """Return what was recorded since `start`."""
        return files.read(f"{self.folder}/trace")

    def lost(self) -> int:
        """Return the number of events that found no room since `start`."""
        lost = 0
        for cpu in files.listing(f"{self.folder}/per_cpu"):
            for line in files.read(f"{self.folder}/per_cpu/{cpu}/stats").splitlines():
                if line.startswith(("overrun:", "dropped events:")):
                    lost += int(line.rpartition(" ")[2])
        return lost

    def close(self) -> None:
        """Remove the instance; nothing if that was done."""
        if os.path.isdir(self.folder):
            self.stop()
            os.rmdir(self.folder)


_tracer: Trace | None = None


def tracer() -> Trace:
    """Return the agent's one trace instance, made at first use."""
    global _tracer
    if _tracer is None:
        _tracer = Trace()
    return _tracer


def close() -> None:
    """Remove the instance, if there is one."""
    global _tracer
    if _tracer is not None:
        _tracer.close()
        _tracer = None
