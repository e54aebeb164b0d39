"""The stateful decoder's flow (kernel: userspace-api/media/v4l/dev-decoder.rst), each wait with a deadline.

Open, `start` with the first frame (which tells the decoder the resolution), set up CAPTURE buffers, `decode`.
Where the resolution changes within the stream, CAPTURE is set up anew on the way.
"""

from __future__ import annotations

import errno
import select
import time

from . import videodev2 as v
from .formats import linear
from .v4l2 import Device, Done

TYPE_CHECKING = False
if TYPE_CHECKING:
    import mmap
    from collections.abc import Callable
    from typing import Any

OUTPUT_BUFFERS = 2
_PAUSE = 0.005  # seconds between looks at a device that can only report POLLERR


def capture_needs(
    node: str, stream: bytes, sizes: list[int], timeout: float = 10.0, **start: Any
) -> dict[str, Any]:
    """Return what the decoder wants for ``stream``, of which it is fed the beginning.

    As `Decoder.capture_format`, and ``buffers``: how many its CAPTURE queue wants at least. A driver may know
    both only when it has seen a header. ``sizes``: bytes of each frame within ``stream``; ``start``: options
    of `Decoder.start`, which also says what is raised.
    """
    decoder = Decoder(node, timeout)
    try:
        found = decoder.start(cut(stream, sizes), **start)
        return {**found, "buffers": decoder.wanted_buffers()}
    finally:
        decoder.close()


def cut(stream: bytes, sizes: list[int]) -> list[bytes]:
    """Return the frames of ``stream``, each with its number of bytes."""
    frames = []
    for length in sizes:
        frames.append(stream[:length])
        stream = stream[length:]
    return frames


class Decoder:
    """One decoding session. ``timeout``: seconds without any progress until ``OSError`` ETIMEDOUT."""

    def __init__(self, node: str, timeout: float = 10.0) -> None:
        self.device = Device(node)
        self.timeout = timeout
        self._maps: list[mmap.mmap] = []
        self._free: list[int] = []
        self._waiting: list[bytes] = []
        self._poll = select.poll()
        self._capture: str | None = None
        self._changed = False

    def start(
        self,
        frames: list[bytes],
        capture: str | None = None,
        coded: str | None = None,
        size: list[int] | None = None,
    ) -> dict[str, Any]:
        """Feed the first of ``frames`` and return the CAPTURE format that results, as `capture_format`.

        ``capture``: fourcc, by default a linear one (`formats.linear`). ``coded``: the OUTPUT format, by
        default the first compressed one. ``size``: width and height, for drivers that do not look for it in
        the stream. A first frame that is no stream ends as ``OSError`` EBADMSG if the decoder says so,
        ETIMEDOUT if it keeps silent.
        """
        device = self.device
        if coded is None:
            coded = next((fourcc for fourcc, compressed in device.output.formats() if compressed), None)
            if coded is None:
                raise OSError(errno.ENODEV, f"{device.card} takes no compressed format")
        device.subscribe(v.EVENT_SOURCE_CHANGE)
        device.subscribe(v.EVENT_EOS)
        width, height = size or (0, 0)
        device.output.set_format(coded, width, height, sizeimage=max(map(len, frames)))
        count = device.output.request(OUTPUT_BUFFERS, v.MEMORY_MMAP)
        self._maps = [device.output.map(index) for index in range(count)]
        self._free = list(range(count))
        self._waiting = list(frames)
        self._feed()
        device.output.on()
        self._await_source_change()
        self._capture = capture
        return self.capture_format()

    def capture_format(self) -> dict[str, Any]:
        """Choose the format of CAPTURE for what the stream is now; as `v4l2.Queue.format` + ``visible``."""
        queue = self.device.capture
        now = queue.format()
        queue.set_format(self._capture or linear(queue), now["width"], now["height"])
        return queue.format() | {"visible": self.device.visible()}

    def min_buffers(self) -> int:
        """Return how many CAPTURE buffers the decoder wants at least (1 if it does not say)."""
        return self.device.control(v.CID_MIN_BUFFERS_FOR_CAPTURE) or 1

    def wanted_buffers(self) -> int:
        """Return how many CAPTURE buffers its queue makes of that when it is to import them.

        The least that the decoder says where the queue imports none.
        """
        least = self.min_buffers()
        try:
            return max(least, self.device.capture.request(least, v.MEMORY_DMABUF))
        except OSError:
            return least

    def decode(self, deliver: Callable[[Done], None], renew: Callable[[], None]) -> None:
        """Feed the frames that `start` has not fed, hand each decoded one to ``deliver``, then drain.

        CAPTURE buffers have to be queued and its streaming started. ``deliver`` gets the dequeued buffer and
        queues it again itself, unless it was the last. ``renew`` sets CAPTURE up anew after a change of the
        resolution; its streaming is off then. ``OSError`` ETIMEDOUT without progress.
        """
        device = self.device
        draining = False
        deadline = time.monotonic() + self.timeout
        while True:
            while self._waiting and self._free:
                self._feed()
            if not self._waiting and not draining:
                device.command(v.DEC_CMD_STOP)
                draining = True
            what = "draining" if draining else f"{len(self._waiting)} frames not yet taken"
            self._wait(select.POLLIN | select.POLLOUT | select.POLLPRI, deadline, what)
            progress = False
            self._take_events()
            while (fed := device.output.dequeue()) is not None:
                self._free.append(fed.index)
                progress = True
            try:
                while (done := device.capture.dequeue()) is not None:
                    progress = True
                    if done.bytesused or done.error or not done.last:  # the last may be there to say so only
                        deliver(done)
                    if done.last:
                        raise BrokenPipeError(errno.EPIPE, "the last buffer")
            except BrokenPipeError:
                self._take_events()
                if not self._changed:
                    return
                self._changed = False
                device.capture.off()
                renew()
                device.capture.on()
                progress = True
            if progress:
                deadline = time.monotonic() + self.timeout

    def _take_events(self) -> None:
        """Take all: a change of resolution ends with a last buffer as the stream does, its event tells."""
        while (kind := self.device.event()) is not None:
            self._changed = self._changed or kind == v.EVENT_SOURCE_CHANGE

    def _feed(self) -> None:
        frame = self._waiting.pop(0)
        index = self._free.pop(0)
        memory = self._maps[index]
        if len(frame) > len(memory):
            raise OSError(errno.EMSGSIZE, f"a frame of {len(frame)} bytes: OUTPUT buffers have {len(memory)}")
        memory[: len(frame)] = frame
        self.device.output.queue(index, bytesused=len(frame))

    def _await_source_change(self) -> None:
        deadline = time.monotonic() + self.timeout
        while True:
            fed = self.device.output.dequeue()
            while (kind := self.device.event()) is not None:
                if kind == v.EVENT_SOURCE_CHANGE:
                    if fed is not None:
                        self._free.append(fed.index)
                    return
            if fed is not None:
                # Given back without a word on the resolution: not the start of a stream, or headers only.
                self._free.append(fed.index)
                if fed.error or not self._waiting:
                    raise OSError(errno.EBADMSG, "the decoder found no stream in what it was fed")
                self._feed()
            self._wait(select.POLLPRI | select.POLLOUT, deadline, "no SOURCE_CHANGE after the first frame")

    def _wait(self, events: int, deadline: float, what: str) -> None:
        """Wait until one of the poll events or an error is there."""
        left = deadline - time.monotonic()
        self._poll.register(self.device.fd, events)
        ready = self._poll.poll(max(0, int(left * 1000))) if left > 0 else []
        if not ready:
            message = f"the decoder made no progress within {self.timeout:g} s ({what})"
            raise OSError(errno.ETIMEDOUT, message)
        if not ready[0][1] & events:
            time.sleep(_PAUSE)  # POLLERR alone: nothing is queued, so that poll would return at once again

    def close(self) -> None:
        """Stop and close everything."""
        for memory in self._maps:
            memory.close()
        self._maps = []
        self.device.close()
