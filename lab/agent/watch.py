"""The sources of evidence beside the pixels, watched during one share: trace, kernel log, counters."""

from __future__ import annotations

from . import counters, files, trace
from .iommu import count_faults, event_interrupts, fault_lines
from .kmsg import KernelLog

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

# The kernel's own reasons for refusing an import (videobuf2-dma-contig.c, kernel/dma/swiotlb.c, direct.h).
REFUSALS = (
    "contiguous chunk is too small",
    "Error getting dmabuf scatterlist",
    "swiotlb buffer is full",
    "overflow",
)


class Watch:
    """Begins to watch when it is made; `evidence` says what happened since."""

    def __init__(self, importer: str) -> None:
        """``importer``: the device whose DMA events count."""
        self.importer = importer
        self._trace = trace.tracer()
        self._log = KernelLog()
        self._hiwater = counters.swiotlb_hiwater()
        if self._hiwater:
            counters.reset_hiwater()
            self._hiwater = counters.swiotlb_hiwater()
        self._cma = counters.cma_free()
        self._interrupts = event_interrupts(files.read("/proc/interrupts"))
        self._trace.start()

    def maps(self) -> list[dict[str, Any]]:
        """Return the importer's dma_map_sg events until now."""
        return list(trace.summary(self._trace.text(), self.importer)["maps"])

    def restart(self) -> None:
        """Forget what was traced: the buffers of before are no longer the experiment's."""
        self._trace.start()

    def evidence(self) -> dict[str, Any]:
        """Stop tracing and return the evidence.

        ``maps``, ``allocs``, ``map_errors``, ``bounced``, ``iommu_maps``, ``queue``: `trace.summary`,
        ``None`` without the event that makes it; ``swiotlb_hiwater``, ``cma_free``: [before, after];
        ``faults``: `iommu.count_faults`; ``fault_lines``, ``refusal_line``, ``kmsg``: of the kernel's log;
        ``missing``: names of the sources that this kernel does not give or that lost something.
        """
        self._trace.stop()
        found = trace.summary(self._trace.text(), self.importer)
        missing = list(self._trace.missing)
        if "trace:dma:dma_map_sg" in missing:
            found["maps"] = None
        if "trace:dma:dma_alloc" in missing:
            found["allocs"] = None
        if "trace:swiotlb:swiotlb_bounced" in missing:
            found["bounced"] = None
        if lost := self._trace.lost():
            missing.append(f"trace: {lost} events lost")
        hiwater = None
        if self._hiwater is not None:
            hiwater = [self._hiwater, counters.swiotlb_hiwater()]
        else:
            missing.append("debugfs:swiotlb")
        log = self._log.lines()
        interrupts = event_interrupts(files.read("/proc/interrupts"))
        return {
            **found,
            "swiotlb_hiwater": hiwater,
            "cma_free": [self._cma, counters.cma_free()],
            "faults": count_faults(log, self._interrupts, interrupts),
            "fault_lines": fault_lines(log),
            "refusal_line": next((line for line in log if any(mark in line for mark in REFUSALS)), None),
            "kmsg": log,
            "missing": missing,
        }

    def close(self) -> None:
        """Stop watching."""
        self._trace.stop()
        self._log.close()
