"""The whole experiment of one cell on the board: decode a stream into a buffer and record the evidence.

What is returned is raw: nothing here decides whether memory was shared.
"""

from __future__ import annotations

import errno
import time

from . import videodev2 as v
from .allocators import find
from .buffers import get
from .canary import Canary
from .decoder import Decoder, cut
from .dmabuf import DmaBuf, attachments
from .iommu import iommu
from .kmsg import kmsg, probe_error
from .memfd import UnavailableError
from .trace import runs
from .v4l2 import device_of, node_of
from .watch import Watch

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .v4l2 import Done, Queue

OWN = "decoder-mmap"
# At a buffer that is contiguous by luck. Lucky ones are kept meanwhile, so that the next gets other pages.
ATTEMPTS = 6


def share(
    stream: bytes,
    sizes: list[int],
    allocator: str,
    capture: str | None = None,
    node: str | None = None,
    device: str | None = None,
    coded: str | None = None,
    size: list[int] | None = None,
    copy_control: bool = False,
    handles: list[int] | None = None,
    buffers: int = 1,
    canary: int = 0xA5,
    timeout: float = 10.0,
) -> dict[str, Any]:
    """Decode ``stream`` into buffers of ``allocator`` and return the raw evidence.

    ``sizes``: bytes of each frame within ``stream``. ``node`` or ``device``: the decoder; a device without a
    node is evidence of stage ``probe``. ``capture``, ``coded``, ``size``: `decoder.Decoder.start`.
    ``copy_control``: decode into the decoder's own buffer and copy by CPU. ``handles``: buffers to use
    instead of new ones, a dma-buf for each memory plane. ``buffers``: CAPTURE buffers, at least what the
    decoder wants. ``canary``: byte that fills a buffer before each decoding. ``timeout``: seconds without
    progress.

    A refusal by the kernel is evidence, not an exception: ``stage``, ``errno`` and ``message`` say where it
    ended. Beside the keys of `watch.Watch.evidence` the evidence has ``allocator``, ``importer``, ``iommu``
    (`iommu.iommu`), ``format`` (`Decoder.start`) and ``formats`` (more than one where the resolution
    changed), ``buffers`` (`DmaBuf.describe`; of all formats, one for each memory plane), ``buffer`` (of them
    the first that the first frame is in), ``pages`` (of all that it is in), ``attachments`` (to each of the
    buffers), ``frames`` ({index, buffer, format: its index, error_flag, bytesused, sizes: bytes of each plane
    in memory, data: all of them}), ``exported`` (whether ``buffers`` are what this queue has exported),
    ``copies`` (``None``: no such source on this path), ``canary`` (`Canary.byte`), ``times`` (seconds;
    ``decode`` includes reading and refilling by CPU). A source that this kernel does not have is ``None`` and
    named in ``missing``.
    """
    if sum(sizes) != len(stream) or not sizes or min(sizes) <= 0:
        raise ValueError(
            f"the sizes of {len(sizes)} frames give {sum(sizes)} bytes, the stream has {len(stream)}"
        )
    if (node is None) == (device is None):
        raise ValueError("share wants either node or device")
    given = [get(handle) for handle in handles] if handles is not None else None
    if copy_control and allocator == OWN and given is None:
        raise ValueError("copy_control copies out of the decoder's own buffer: choose another allocator")
    importer = device if device is not None else device_of(str(node))
    experiment = Experiment(importer, allocator, copy_control, given, buffers, canary)
    try:
        return experiment.run(node, cut(stream, sizes), timeout, capture=capture, coded=coded, size=size)
    finally:
        experiment.close()


class Experiment:
    """State of one share: what is open, how far it got, what was seen."""

    def __init__(
        self,
        importer: str,
        allocator: str,
        copy_control: bool,
        given: list[DmaBuf] | None,
        buffers: int,
        canary: int,
    ) -> None:
        self.importer = importer
        self.name = allocator
        self.allocator = find(allocator) if allocator != OWN and given is None else None
        self.own_buffers = copy_control or (self.allocator is None and given is None)
        self.copy = copy_control
        self.given = given
        self.count = buffers
        self.canary = Canary(canary)
        self.stage = "probe"
        self.watch = Watch(importer)
        self.decoder: Decoder | None = None
        self.made: list[DmaBuf] = []  # everything that has to be closed in the end
        self.own: list[DmaBuf] = []  # what the decoder writes, where that is its own memory
        self.exported: list[DmaBuf] = []  # those, and the ones of before the resolution changed
        self.targets: list[DmaBuf] = []  # what the consumer reads, a dma-buf for each memory plane
        self.used: list[DmaBuf] = []  # those, and the ones of before the resolution changed
        self.attachments: list[str] | None = None
        self.formats: list[dict[str, Any]] = []
        self.frames: list[dict[str, Any]] = []
        self.times: dict[str, float] = {}

    @property
    def planes(self) -> list[int]:
        """Bytes of each memory plane of a frame, as the format is now."""
        return [plane["sizeimage"] for plane in self.formats[-1]["planes"]]

    def run(self, node: str | None, frames: list[bytes], timeout: float, **stream: Any) -> dict[str, Any]:
        """Go as far as it goes and return the evidence. Exceptions are ours or the caller's mistakes."""
        iommu_found = iommu(self.importer)
        code, message = None, ""
        try:
            self._decode_into_buffers(node or node_of(self.importer), frames, timeout, stream)
            self.stage = "done"
        except UnavailableError as error:
            code, message = errno.ENODEV, str(error)
        except OSError as error:
            code, message = error.errno, error.strerror or str(error)
        evidence = self.watch.evidence()
        if self.used and self.attachments is None:
            evidence["missing"].append("debugfs:dma_buf/bufinfo")
        first = self._first()
        return evidence | {
            "stage": self.stage,
            "errno": code,
            "message": message,
            "allocator": self.name,
            "importer": self.importer,
            "iommu": iommu_found,
            "format": self.formats[0] if self.formats else None,
            "formats": self.formats,
            "buffer": first[0].describe() if first else None,
            "buffers": [buffer.describe() for buffer in self.used],
            "pages": _pages(first),
            "attachments": self.attachments,
            "frames": self.frames,
            "exported": bool(self.used) and all(buffer in self.exported for buffer in self.used),
            "copies": None,
            "canary": self.canary.byte,
            "times": self.times,
        }

    def _first(self) -> list[DmaBuf]:
        """Return the dma-bufs of the first frame; where none came, those of the first buffer."""
        planes = len(self.formats[0]["planes"]) if self.formats else 1
        at = self.frames[0]["buffer"] * planes if self.frames else 0
        return self.used[at : at + planes]

    def _decode_into_buffers(
        self, node: str | None, frames: list[bytes], timeout: float, stream: dict[str, Any]
    ) -> None:
        if node is None:
            raise OSError(*self._why_no_node())
        decoder = self.decoder = Decoder(node, timeout)
        self.stage = "setup"
        self._queue_buffers(decoder, decoder.start(frames, **stream))
        began = time.monotonic()
        decoder.device.capture.on()
        decoder.decode(self._deliver, self._renew)
        self.times["decode"] = time.monotonic() - began

    def _queue_buffers(self, decoder: Decoder, frame_format: dict[str, Any]) -> None:
        """Provide buffers of a format and queue them; what is done with them is stage ``decode``."""
        self.formats.append(frame_format)
        self.count = max(self.count, decoder.min_buffers())
        self.targets = []
        try:
            if self.own_buffers:
                self._queue_own(decoder)
            else:
                self._import(decoder)
        finally:
            self.used += self.targets  # a refused buffer, too
        self.stage = "decode"

    def _renew(self) -> None:
        """Give back the buffers of the old resolution, and provide those of the new one."""
        assert self.decoder is not None
        if self.given is not None:
            raise OSError(errno.EMEDIUMTYPE, "the resolution changed, and the buffers were given")
        queue = self.decoder.device.capture
        queue.request(0, queue.memory)
        self.own = []
        self._queue_buffers(self.decoder, self.decoder.capture_format())

    def _why_no_node(self) -> tuple[int, str]:
        known = probe_error(kmsg(last=1 << 20), self.importer)
        return known or (errno.ENODEV, f"{self.importer} has no video node: no driver has bound to it")

    def _allocate(self) -> list[DmaBuf]:
        """Return the buffers for the consumer, filled with the canary."""
        self.stage = "allocate"
        began = time.monotonic()
        if self.given is not None:
            buffers = self.given
        else:
            assert self.allocator is not None
            buffers = []
            for size in self.planes * self.count:
                buffers.append(self.allocator.allocate(size))
                self.made.append(buffers[-1])
        for buffer in buffers:
            self.canary.fill(buffer)
        self.times["allocate"] = time.monotonic() - began
        return buffers

    def _queue_own(self, decoder: Decoder) -> None:
        """Let the decoder allocate; export, fill and queue its buffers."""
        queue = decoder.device.capture
        self.stage = "allocate"
        if not self.exported:
            self.watch.restart()  # what was allocated until now are buffers for the stream
        began = time.monotonic()
        self.count = queue.request(self.count, v.MEMORY_MMAP)
        for index in range(self.count):
            for plane in range(queue.planes):
                self.own.append(DmaBuf(queue.export(index, plane)))
                self.made.append(self.own[-1])
                self.exported.append(self.own[-1])
                self.canary.fill(self.own[-1])
        self.times["allocate"] = time.monotonic() - began
        if self.copy:
            self.targets = self._allocate()
            if len(self.targets) < len(self.own):
                there = len(self.targets)
                raise OSError(errno.EINVAL, f"the decoder wants {len(self.own)} buffers, {there} are there")
            for buffer, size in zip(self.targets, self.planes * self.count, strict=False):
                if buffer.size < size:
                    raise OSError(errno.EMSGSIZE, f"a frame needs {size} bytes, a buffer has {buffer.size}")
        else:
            self.targets = self.own
        self.stage = "import"
        for index in range(self.count):
            queue.queue(index)
        self.attachments = self._attached()

    def _import(self, decoder: Decoder) -> None:
        """Import into the CAPTURE queue; where a buffer is contiguous only by luck, try others."""
        queue = decoder.device.capture
        for left in reversed(range(ATTEMPTS)):
            self._request(queue)
            self.targets = self._allocate()
            self.stage = "import"
            began = time.monotonic()
            try:
                for index in range(self.count):
                    queue.queue(index, [buffer.fd for buffer in self._of(index)])
            finally:
                self.times["import"] = time.monotonic() - began
                self.attachments = self._attached()
                self._count_runs()
            if not left or not self._lucky():
                return
            queue.request(0, v.MEMORY_DMABUF)
            self.watch.restart()

    def _request(self, queue: Queue) -> None:
        """Ask the queue for as many buffers as were given, or as are wanted; the queue may want more."""
        self.stage = "import"
        asked = self.count if self.given is None else len(self.given) // queue.planes
        wanted = max(self.count, queue.request(asked, v.MEMORY_DMABUF))
        if self.given is not None and wanted > asked:
            self.stage = "setup"  # nobody was asked to import anything
            raise OSError(errno.EINVAL, f"the decoder wants {wanted} buffers, {asked} are there")
        self.count = wanted

    def _attached(self) -> list[str] | None:
        """Return the devices that are attached to each of the buffers."""
        return attachments(*(buffer.inode for buffer in self.targets))

    def _count_runs(self) -> None:
        """Count contiguous runs in the scatter lists just mapped, where the allocator knows none."""
        maps = self.watch.maps()[-len(self.targets) :]
        for buffer, mapped in zip(self.targets, maps, strict=False):
            if buffer.runs is None and not mapped["truncated"]:
                buffer.runs = runs(mapped["phys"], mapped["dma"], buffer.size)

    def _lucky(self) -> bool:
        if self.given is not None or self.allocator is None or not self.allocator.scattered:
            return False
        return any(buffer.runs == 1 and buffer.size > 4096 for buffer in self.targets)

    def _of(self, index: int, buffers: list[DmaBuf] | None = None) -> list[DmaBuf]:
        """Return the dma-bufs of one V4L2 buffer, one for each memory plane."""
        count = len(self.formats[-1]["planes"])
        return (self.targets if buffers is None else buffers)[index * count : (index + 1) * count]

    def _deliver(self, done: Done) -> None:
        """Read a decoded frame as the consumer does, then give the buffer back to the decoder."""
        assert self.decoder is not None
        targets = self._of(done.index)
        written = self._of(done.index, self.own)
        self.canary.came(targets)
        used = zip(targets, done.planes, self.planes, strict=True)
        sizes = [min(bytesused or room, target.size) for target, bytesused, room in used]
        if self.copy:
            for target, source, size in zip(targets, written, sizes, strict=True):
                target.write(source.read(size))
        self.frames.append(
            {
                "index": len(self.frames),
                "buffer": done.index,
                "format": len(self.formats) - 1,
                "error_flag": done.error,
                "bytesused": done.bytesused,
                "sizes": sizes,
                "data": b"".join(target.read(size) for target, size in zip(targets, sizes, strict=True)),
            }
        )
        if not done.last:
            for buffer in [*targets, *written] if self.copy else targets:
                self.canary.fill(buffer)
            fds = None if self.own_buffers else [target.fd for target in targets]
            self.decoder.device.capture.queue(done.index, fds)

    def close(self) -> None:
        """Close everything, the decoder first, so that it holds no buffer."""
        self.watch.close()
        if self.decoder is not None:
            self.decoder.close()
        while self.made:
            self.made.pop().close()


def _pages(buffers: list[DmaBuf]) -> list[int] | None:
    """Return the pages of all of them, ``None`` where those of one are not known."""
    known = [buffer.pages for buffer in buffers]
    if not known or None in known:
        return None
    return [page for pages in known for page in pages or ()]
