"""Calls on the board: memory that is chosen for the decoder, and shown to the guest in a BAR.

The board allocates where the decoder reaches, maps that into the guest by a vhost-user device of its own
(`vhost_device`), and has a dma-buf of the same pages for the decoder: `share` with ``handles=[handle]``.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import signal

from . import buffers, files, pagemap, process
from .dmabuf import DmaBuf
from .memfd import HUGE, MFD_HUGE_2MB, MFD_HUGETLB, PAGE, MemFd, Reserved, grow, reserve, whole
from .vhost_device import DESCRIPTORS, SOCKET, Device

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .vhost_user import Front

LEFT = "/run/lab/host-blob.left"
"""What `leave` wrote for the agent that comes after this one."""
DEVICE = "vhost-user-test-device-pci"
BAR = 64 << 20
"""Bytes: as many huge pages as a V4L2 queue had buffers for long, 32 (Linux, VIDEO_MAX_FRAME)."""
ENDING = 10.0
"""Seconds that an agent which is killed gets to end."""
ATTEMPTS = 8  # at small pages that the decoder reaches; what it does not is kept meanwhile
STEP = 128
"""Huge pages by which the pool grows between two attempts, 256 MiB."""

_device: Device | None = None
_capabilities: dict[str, dict[str, tuple[bool, str]]] = {}


class Mapping:
    """Memory in the guest's BAR for as long as this is open."""

    def __init__(self, device: Device, memory: MemFd, unit: int, timeout: float) -> None:
        """Map all of ``memory``; ``OSError`` as `Device.map`."""
        self._device = device
        self.front: Front | None = None
        self.front, self.offset = device.map(memory.fd, memory.size, unit, timeout)

    def close(self) -> None:
        """Take it out of the guest; closing twice does nothing."""
        front, self.front = self.front, None
        if front is not None:
            self._device.unmap(front, self.offset)


def host_blob_capability(binary: str) -> dict[str, tuple[bool, str]]:
    """Say whether a VMM's program (QEMU) has the device that shows memory in a BAR: ``shared-memory-bar``.

    No guest has to run. The reason is in the program's words. Whether it takes up shared memory too is known
    when it runs with the device (`host_blob_status`).
    """
    if binary not in _capabilities:
        _capabilities[binary] = _capability(binary)
    return _capabilities[binary]


def _capability(binary: str) -> dict[str, tuple[bool, str]]:
    from .run import run

    try:
        result = run([binary, "-M", "none", "-device", f"{DEVICE},help"], timeout=60)
    except FileNotFoundError:
        return {"shared-memory-bar": (False, f"{binary}: {os.strerror(errno.ENOENT)}")}
    if result["stdout"]:  # its options; QEMU's code is 0 without the device, too
        return {"shared-memory-bar": (True, "")}
    words = result["stderr"].decode(errors="replace").strip().rpartition("\n")[2]
    return {"shared-memory-bar": (False, words or f"{binary} ended with code {result['rc']}")}


def host_blob_start(size: int = BAR, socket: str = SOCKET) -> dict[str, Any]:
    """Listen for a VMM at ``socket`` with a BAR of ``size`` bytes (a power of two); do it before `vm_start`.

    Returns as `host_blob_status`. Nothing is changed where it listens so already; a VMM that is started
    later connects again. With what another agent left (`leave`) this one goes on, and ends that.
    ``OSError`` ESRCH where the other one has ended before.
    """
    global _device
    if _device is None or (_device.path, _device.size) != (socket, size):
        host_blob_stop()
        os.makedirs(os.path.dirname(socket), exist_ok=True)
        _device = _taken_over() or Device(socket, size)
    return host_blob_status()


def leave() -> None:
    """Write down what another agent needs to go on with the VMM that is connected, if one is.

    This agent has to run until then, and is killed by it. ``OSError`` as `Device.leave`.
    """
    if _device is not None and _device.front is not None:
        me = os.getpid()
        known = {"pid": me, "started": process.start_time(me), "path": _device.path, "size": _device.size}
        known |= _device.leave()
        with open(LEFT, "w") as file:
            json.dump(known, file)


def stay() -> None:
    """This agent goes on itself after `leave`."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(LEFT)


def _taken_over() -> Device | None:
    """The device of the agent that left one, which is ended: two would read from one socket."""
    text = files.read_or_none(LEFT)
    if text is None:
        return None
    os.unlink(LEFT)
    left = json.loads(text)
    pid = left["pid"]
    if process.start_time(pid) != left["started"]:
        raise OSError(errno.ESRCH, "the agent that showed memory to the guest has ended")
    left |= {name: process.take(pid, left[name]) for name in DESCRIPTORS}
    before = os.pidfd_open(pid)
    try:
        signal.pidfd_send_signal(before, signal.SIGKILL)
        if not process.ended(before, ENDING):
            raise TimeoutError(errno.ETIMEDOUT, f"the agent before this one does not end within {ENDING:g} s")
    finally:
        os.close(before)
    return Device(left["path"], left["size"], left)


def host_blob_status() -> dict[str, Any]:
    """Return ``socket``, ``size``, ``connected``, ``shares`` (the VMM took up shared memory), ``ready``
    (the guest's driver runs), ``protocol`` (bits that the VMM took), ``mapped`` ([[offset, bytes]]) and
    ``error`` (why the last connection broke).

    ``OSError`` ENOTCONN where `host_blob_start` was not called.
    """
    device = _started()
    front = device.front
    return {
        "socket": device.path,
        "size": device.size,
        "connected": front is not None,
        "shares": front is not None and front.shares,
        "ready": front is not None and front.ready,
        "protocol": front.protocol if front is not None else 0,
        "mapped": [[offset, size] for offset, size in front.mapped.items()] if front is not None else [],
        "error": device.error,
    }


def host_blob_map(
    size: int, pages: str = "2m", contiguous: bool = True, bits: int = 64, timeout: float = 10.0
) -> dict[str, Any]:
    """Allocate what the decoder reaches and map it into the guest's BAR.

    ``pages``: ``2m`` or ``4k``. ``contiguous``: the decoder wants one physical run. ``bits``: of an address
    that the decoder reaches without translation; 64 where an IOMMU translates. ``timeout``: seconds for VMM
    and driver.

    Returns as `buffers.allocate`, and ``offset``, ``length``: what of the BAR shows the memory. `free` takes
    it out of the guest, who must have freed its own before. ``OSError``: EAGAIN where no memory that the
    decoder reaches was found; `Device.map`.
    """
    device = _started()
    memory, unit, reserved = fitted(size, pages, contiguous, bits)
    held: list[Any] = [reserved, memory]  # closed in the reverse order: out of the guest before it goes
    try:
        shown = Mapping(device, memory, unit, timeout)
        held.append(shown)
        buffer = DmaBuf(memory.udmabuf(whole(size, PAGE)), extra=held)
    except BaseException:
        for thing in reversed(held):
            thing.close()
        raise
    buffer.pages = memory.pages(buffer.size)
    buffer.runs = pagemap.runs(buffer.pages) if buffer.pages else None
    return {**buffers.keep(buffer), "offset": shown.offset, "length": memory.size}


def host_blob_stop() -> None:
    """Stop listening; a VMM that is connected loses the device. Nothing if it was not started."""
    global _device
    if _device is not None:
        device, _device = _device, None
        device.close()


def fitted(size: int, pages: str, contiguous: bool, bits: int) -> tuple[MemFd, int, Reserved]:
    """Return memory of ``size`` bytes at least that fits, touched, the size of its pages, and what to close
    after it.

    Where a page lies cannot be asked for: it is looked up in pagemap. What does not fit is kept until another
    one was found. Linux gives the highest memory first (its zones in that order), so with huge pages the
    pool takes that up step by step, untouched, until one from below comes; it is given back then.
    ``OSError`` EAGAIN where the board has no more to give.
    """
    unit, flags = {"4k": (PAGE, 0), "2m": (HUGE, MFD_HUGETLB | MFD_HUGE_2MB)}[pages]
    length = whole(size, unit)
    spare: list[MemFd] = []
    kept, grown = Reserved(0), Reserved(0)
    try:
        while True:
            if unit == HUGE:
                kept.count += reserve(length // HUGE)
            memory = MemFd(length, flags)
            spare.append(memory)
            for offset in range(0, length, unit):
                memory.touch(offset)
            if fits(memory.pages(whole(size, PAGE)), contiguous, bits):
                spare.remove(memory)
                return memory, unit, kept
            more = grow(STEP) if unit == HUGE else 0
            grown.count += more
            if not more and (unit == HUGE or len(spare) == ATTEMPTS):
                raise OSError(
                    errno.EAGAIN,
                    f"{len(spare)} times {length} bytes of {pages} pages: none was "
                    f"{'in one piece and ' if contiguous else ''}below 2^{bits}",
                )
    except BaseException:
        grown.count += kept.count
        raise
    finally:
        for memory in spare:
            memory.close()
        grown.close()


def fits(pages: list[int] | None, contiguous: bool, bits: int) -> bool:
    """Whether a decoder with ``bits`` address bits reaches pages; not where nobody knows where they are."""
    if not pages:
        return False
    if contiguous and pagemap.runs(pages) > 1:
        return False
    return max(pages) + PAGE <= 1 << bits


def _started() -> Device:
    if _device is None:
        raise OSError(errno.ENOTCONN, "host_blob_start was not called")
    return _device
