"""Evidence as the agent sends it, for what was measured on the virtual boards (facts of the truth table)."""

from __future__ import annotations

import errno
from typing import Any

from lab.base.words import IommuMode
from lab.sharing import BoardFacts, DecoderFacts

GIB = 1 << 30
REFERENCES = [bytes((7 * i + frame) % 251 for i in range(38016)) for frame in (1, 2)]
CANARY = 0xA5
DEVICE = "0000:00:01.0"

SMALL = BoardFacts(ram=((GIB, 4 * GIB),))  # 3 GB, all of it below 4 GiB
LARGE = BoardFacts(ram=((GIB, 6 * GIB),))  # 5 GB
WIDE = DecoderFacts("wide", 32)
NARROW = DecoderFacts("narrow", 28)
BARE = DecoderFacts("wide", 32, behind_iommu=False)
MODES = list(IommuMode)


def scattered(base: int = 2 * GIB) -> list[int]:
    """Ten pages, no two of which adjoin."""
    return [base + 8192 * i for i in range(10)]


def run_of_pages(base: int = 2 * GIB) -> list[int]:
    """Ten pages in one run."""
    return [base + 4096 * i for i in range(10)]


def frames(pictures: list[bytes]) -> list[dict[str, Any]]:
    """The pictures as dequeued frames."""
    return [
        {"index": i, "error_flag": False, "bytesused": len(data), "data": data}
        for i, data in enumerate(pictures)
    ]


def mapped(pages: list[int], *, iova: int | None = None) -> dict[str, Any]:
    """One dma_map_sg event: to one IOVA range, or each page for itself."""
    dma = [[iova, 40960]] if iova is not None else [[page, 4096] for page in pages]
    return {
        "device": DEVICE,
        "nents": len(pages),
        "ents": len(dma),
        "phys": pages,
        "dma": dma,
        "truncated": False,
    }


def shared(**changes: Any) -> dict[str, Any]:
    """A scattered udmabuf, imported behind a translating IOMMU, everything right."""
    pages = scattered()
    return {
        "stage": "done",
        "errno": None,
        "message": "",
        "importer": DEVICE,
        "allocator": "udmabuf-4k",
        "frames": frames(REFERENCES),
        "buffer": {"exporter": "udmabuf", "inode": 12, "size": 40960, "runs": 10},
        "buffers": [{"exporter": "udmabuf", "inode": 12, "size": 40960, "runs": 10}],
        "pages": pages,
        "attachments": [DEVICE],
        "maps": [mapped(pages, iova=0xFFFF0000)],
        "allocs": [],
        "bounced": 0,
        "swiotlb_hiwater": [0, 0],
        "faults": 0,
        "fault_lines": [],
        "copies": None,
        "refusal_line": None,
        "kmsg": [],
        "canary": CANARY,
        "exported": False,
        "missing": [],
        "times": {},
    } | changes


def own(**changes: Any) -> dict[str, Any]:
    """The decoder's own buffer, exported."""
    buffer = {"exporter": "videobuf2_dma_contig", "inode": 13, "size": 40960, "runs": None}
    return (
        shared(
            allocator="decoder-mmap",
            buffer=buffer,
            buffers=[buffer],
            pages=None,
            exported=True,
            attachments=[],
            maps=[],
            allocs=[{"device": DEVICE, "dma": 0xFFFE0000, "size": 40960, "phys": None}],
        )
        | changes
    )


def control(**changes: Any) -> dict[str, Any]:
    """Decoded into the decoder's own buffer and copied by CPU into a udmabuf."""
    return shared(attachments=[], maps=[], allocs=own()["allocs"]) | changes


def refused(pages: list[int] | None = None, **changes: Any) -> dict[str, Any]:
    """Scattered pages without translation."""
    pages = pages or scattered()
    line = "contiguous chunk is too small 4096/40960"
    return (
        shared(
            stage="import",
            errno=errno.EFAULT,
            message="VIDIOC_QBUF: Bad address",
            frames=[],
            pages=pages,
            maps=[mapped(pages)],
            refusal_line=line,
        )
        | changes
    )


def bounced(*, back: bool = False, **changes: Any) -> dict[str, Any]:
    """Pages above the mask: accepted, bounced, and lost unless the exporter brings them ``back``."""
    pages = scattered(5 * GIB)
    pictures = REFERENCES if back else [bytes([CANARY]) * 38016] * 2
    return (
        shared(
            frames=frames(pictures),
            pages=pages,
            maps=[mapped(pages) | {"dma": [[0xF0000000 + 4096 * i, 4096] for i in range(10)]}],
            bounced=10,
            swiotlb_hiwater=[0, 20],
        )
        | changes
    )
