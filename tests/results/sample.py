"""A made-up run: the truth table of the three virtual targets, with and without things that went wrong."""

from __future__ import annotations

import math
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

from lab.base.words import IommuMode, Status, Verdict
from lab.results import Cell, Result, Run

STARTED = datetime(2026, 11, 22, 21, 4, 33, tzinfo=UTC)
WIDTH, HEIGHT = 176, 144
SCATTERED = "contiguous memory is demanded, 4K pages are scattered"
SILENT = "pages above the 32-bit mask are bounced and never copied back"

ALLOCATORS = {
    "decoder-mmap": "decoder's own (MMAP, EXPBUF)",
    "udmabuf-4k": "udmabuf, 4K pages, scattered",
    "udmabuf-2m": "udmabuf, 2M huge pages",
    "virtio-gpu-dumb": "virtio-gpu dumb buffer",
    "vgem": "vgem buffer",
    "copy": "control: copied on purpose",
}
MODES = {
    "virt-smmu": (IommuMode.TRANSLATED, IommuMode.PASSTHROUGH, IommuMode.OFF),
    "virt-cma": (IommuMode.OFF,),
    "virt-dma32": (IommuMode.OFF,),
}


def truth(target: str, mode: IommuMode, allocator: str) -> tuple[Verdict, int | None, str]:
    """Verdict, errno and reason, as facts/virtual-board.md has them."""
    if allocator == "copy":
        return Verdict.COPIED, None, "copied on purpose"
    if mode is IommuMode.TRANSLATED or allocator == "decoder-mmap":
        return Verdict.ZERO_COPY, None, ""
    if target == "virt-dma32":
        return Verdict.CORRUPT, None, SILENT
    if allocator == "udmabuf-2m":
        return Verdict.ZERO_COPY, None, ""
    return Verdict.REFUSED, 14, SCATTERED


@cache
def picture(seed: int, *, broken: bool = False) -> bytes:
    """An NV12 frame, WIDTH x HEIGHT; ``broken``: half of it is a canary byte."""
    luma = bytearray()
    for y in range(HEIGHT):
        for x in range(WIDTH):
            ring = math.hypot(x - WIDTH / 2, y - HEIGHT / 2)
            luma.append(int(128 + 100 * math.sin(ring / 6 + seed)))
    chroma = bytes(
        (64 + x // 2 if x % 2 else 200 - y) & 255 for y in range(HEIGHT // 2) for x in range(WIDTH)
    )
    frame = bytes(luma) + chroma
    if broken:
        frame = frame[: WIDTH * 40] + b"\xa5" * (len(frame) - WIDTH * 40)
    return frame


def evidence(target: str, mode: IommuMode, verdict: Verdict) -> dict[str, Any]:
    pages = [0x1_0000_0000 + ((i * 7919) % 97) * 0x13000 for i in range(10)]
    found: dict[str, Any] = {
        "stage": "import" if verdict is Verdict.REFUSED else "done",
        "importer": "0000:00:01.0",
        "buffer": {"exporter": "udmabuf", "inode": 4711, "size": 40960},
        "attachments": ["0000:00:01.0"],
        "pages": pages,
        "bounced": 10 if verdict is Verdict.CORRUPT else 0,
        "swiotlb_hiwater": [0, 40 if verdict is Verdict.CORRUPT else 0],
        "faults": 0,
        "fault_lines": [],
        "copies": [],
        "kmsg": ["[   12.345678] contiguous chunk is too small 4096/40960"],
        "canary": 0xA5,
        "missing": ["no dma_map_sg tracepoint"] if target == "virt-cma" else [],
        "times": {"allocate": 0.004, "import": 0.021, "decode": 2.013},
    }
    merged = mode is IommuMode.TRANSLATED
    found["maps"] = [
        {
            "device": "0000:00:01.0",
            "nents": 10,
            "ents": 1 if merged else 10,
            "phys": pages,
            "dma": [[0xFFFF6000, 40960]] if merged else [[page, 4096] for page in pages],
            "truncated": False,
        }
    ]
    if verdict is Verdict.CORRUPT:
        found["format"] = {"width": WIDTH, "height": HEIGHT, "fourcc": "NV12"}
        found["frames"] = [
            {
                "index": number,
                "error_flag": False,
                "bytesused": 38016,
                "data": picture(number, broken=True),
                "reference": picture(number),
            }
            for number in range(2)
        ]
    return found


def result(
    target: str = "virt-smmu",
    mode: IommuMode = IommuMode.TRANSLATED,
    allocator: str = "udmabuf-4k",
    /,
    **changes: Any,
) -> Result:
    """A share that came out as expected, changed by ``changes``."""
    verdict, errno, reason = truth(target, mode, allocator)
    values: dict[str, Any] = {
        "run": "2026-11-22T21-04-33-3f2a",
        "test": f"suites/board/test_import.py::test_decoder_writes_into_imported_buffer[{allocator}]",
        "target": target,
        "place": target,
        "soc": "virtual",
        "suite": "board",
        "iommu_asked": mode,
        "iommu_verified": mode,
        "allocator": allocator,
        "importer": "decoder",
        "path": ALLOCATORS[allocator],
        "decoder": "edu28",
        "status": Status.PASS,
        "verdict": verdict,
        "expected": verdict,
        "expected_errno": errno,
        "expected_reason": reason,
        "errno": errno,
        "reason": "the decoder's DMA addresses lie on the buffer's own pages; no bounce, no copy, no fault"
        if verdict is Verdict.ZERO_COPY
        else reason,
        "reasons": ("4 of 4 frames match the reference", "10 of 10 pages mapped where the decoder wrote"),
        "started": STARTED + timedelta(seconds=2),
        "duration": 2.1,
        "evidence": evidence(target, mode, verdict),
        "metrics": {"decode_seconds": 2.013},
        "log": "[   12.345678] contiguous chunk is too small 4096/40960\nlab# ",
        "repeat": f"lab run board --target {target} --iommu {mode} -k {allocator}",
        "image": "3f2a91c04b7d",
        "kernel": "6.12.107+deb13-arm64",
        "environment": {
            "iommu group type": "DMA" if mode is IommuMode.TRANSLATED else "no group",
            "QEMU": "7.2",
        },
    }
    values.update(changes)
    return Result(**values)


def other(target: str, mode: IommuMode, test: str, **changes: Any) -> Result:
    """A test that shares nothing."""
    plain = {"allocator": "", "importer": "", "path": "", "verdict": None, "expected": None, "errno": None}
    plain |= {"expected_errno": None, "expected_reason": "", "reason": "", "reasons": (), "evidence": {}}
    plain |= {"test": f"suites/board/{test}", "repeat": f"lab run board --target {target} --iommu {mode}"}
    return result(target, mode, "udmabuf-4k", **(plain | changes))


GUEST_PATHS = {
    "guest-blob": "scattered guest blob → decoder",
    "guest-blob-contig": "contig. guest blob → decoder",
    "vfio-decoder": "guest's decoder → virtio-gpu",
    "resource-uuid": "resource by UUID → decoder",
    "guest-copied": "control: VMM copies (no blob)",
}
NO_UUID = "virtio-gpu offers no RESOURCE_UUID (+resource_blob)"


def crossing(mode: IommuMode, path: str, **changes: Any) -> Result:
    """A share across the VM boundary of virt-smmu that came out as expected."""
    verdict, errno, reason = Verdict.ZERO_COPY, None, ""
    if path == "guest-blob" and mode is not IommuMode.TRANSLATED:
        verdict, errno, reason = Verdict.REFUSED, 14, SCATTERED
    if path == "vfio-decoder" and mode is IommuMode.OFF:
        verdict, errno, reason = Verdict.UNSUPPORTED, 19, "no iommu_group found"
    if path == "resource-uuid":
        verdict, errno, reason = Verdict.UNSUPPORTED, 19, NO_UUID
    if path == "guest-copied":
        verdict, reason = Verdict.COPIED, "what is no blob the VMM transfers, every frame"
    found = evidence("virt-smmu", mode, verdict) | {
        "path": path,
        "copies": ["virtio_gpu_cmd_res_xfer_toh_2d res 0x7"] if verdict is Verdict.COPIED else [],
        "dmabuf": {"exporter": "udmabuf", "inode": 4711, "size": 40960},
        "guest_pages": [0x1000 * (3 * at % 10) for at in range(10)],
        "canaries": {"host_to_guest": True, "guest_to_host": None},
        "consumer": {"name": "guest", "how": "CPU mapping", "device": None, "inode": None, "maps": None},
        "screen": True,
        "tolerance": 0,
    }
    values: dict[str, Any] = {"suite": "vm", "test": f"suites/vm/test_paths.py::test_path[{path}]"}
    values |= {"allocator": path, "path": GUEST_PATHS[path], "verdict": verdict, "expected": verdict}
    values |= {"errno": errno, "expected_errno": errno, "expected_reason": reason, "reason": reason}
    values |= {"evidence": found, "repeat": f"lab run vm --target virt-smmu --iommu {mode} -k {path}"}
    return result("virt-smmu", mode, "udmabuf-4k", **(values | changes))


def vm_run() -> list[Result]:
    """virt-smmu with its guest: the paths come in before the allocators do."""
    modes = MODES["virt-smmu"]
    return [crossing(mode, path) for mode in modes for path in GUEST_PATHS] + good_run(["virt-smmu"])


def good_run(targets: Iterable[str] = MODES) -> list[Result]:
    """Every cell of ``targets``, all as expected."""
    found = []
    for target in targets:
        for mode in MODES[target]:
            found += [result(target, mode, allocator) for allocator in ALLOCATORS]
            found += [other(target, mode, f"test_decode.py::test_frames[{n}]") for n in range(6)]
            found.append(other(target, mode, "test_compliance.py::test_v4l2_compliance"))
    return found


def bad_run() -> list[Result]:
    """The same with a wrong verdict, a broken test, a cell that was tried twice and one missing."""
    found = []
    for item in good_run():
        mode = item.iommu_asked
        if item.target == "virt-dma32" and item.allocator == "udmabuf-4k":
            reason = (
                "decoder reported DONE, 38016 of 38016 bytes differ; 10 pages bounced and never copied back"
            )
            item = result(
                "virt-dma32", mode, "udmabuf-4k",
                status=Status.FAIL, expected=Verdict.REFUSED, expected_errno=14, reason=reason,
                expected_reason=SCATTERED,
            )  # fmt: skip
        if item.target == "virt-smmu" and mode is IommuMode.OFF:
            if item.allocator == "vgem":
                lost = {
                    "status": Status.MISS,
                    "verdict": None,
                    "errno": None,
                    "reason": "QEMU ended by signal 9",
                }
                found.append(result("virt-smmu", mode, "vgem", **lost))
                item = result("virt-smmu", mode, "vgem", attempt=2)
            if item.test.endswith("test_frames[3]"):
                item = other(
                    "virt-smmu", mode, "test_decode.py::test_frames[3]",
                    status=Status.ERROR, reason="KeyError: 'frames' (test_decode.py:41)",
                )  # fmt: skip
            if item.test.endswith("test_frames[4]"):
                item = other(
                    "virt-smmu", mode, "test_decode.py::test_frames[4]",
                    status=Status.SKIP, reason="the decoder has no YUV420",
                )  # fmt: skip
            if item.allocator == "virtio-gpu-dumb":
                continue
        found.append(item)
    return found


def plan(results: Iterable[Result]) -> tuple[Cell, ...]:
    """The cells that ``results`` are attempts at."""
    names = ("test", "target", "suite", "soc", "allocator", "importer", "path", "decoder")
    return tuple(
        Cell(iommu=item.iommu_asked, **{name: getattr(item, name) for name in names}) for item in results
    )


def run(planned: Iterable[Cell] = ()) -> Run:
    return Run(
        id="2026-11-22T21-04-33-3f2a",
        started=STARTED,
        command="lab run --target virt-smmu,virt-cma,virt-dma32",
        planned=tuple(planned),
        environment={"sharelab": "0.1.0", "QEMU": "7.2.15", "host": "x86_64, 2 cores"},
    )
