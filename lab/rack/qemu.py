"""One QEMU process, from its start to its end, with its monitor (QMP) and its output."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable

from qemu.qmp import QMPClient, QMPError

from lab.base.errors import LabError
from lab.base.proc import die_with_parent, require

START_TIMEOUT = 20.0
"""Seconds for QEMU to answer on its monitor; it takes 0.2 s on an idle machine."""

END_TIMEOUT = 5.0
"""Seconds for a killed QEMU to be gone, memory and all; it takes some milliseconds."""

OUTPUT_LIMIT = 4 << 20
"""Bytes of output that are kept of one power cycle: a guest can provoke messages without end."""

# Disconnects are told by the process's end; the library would print each on stderr as well.
logging.getLogger("qemu.qmp").addHandler(logging.NullHandler())


class Qemu:
    """A QEMU process. ``ended`` is done when it is gone; its result is the exit status (Popen.returncode).

    ``monitor`` is its QMP client, connected once ``ready`` has returned. QEMU dies with the process
    that started it.
    """

    def __init__(
        self,
        arguments: Callable[[int, int], list[str]],
        console: socket.socket,
        event: Callable[[str], None],
        *,
        incoming: int | None = None,
    ) -> None:
        """Start QEMU.

        ``arguments`` gives its arguments for the file descriptors of console and monitor, ``console``
        is the board's end of its UART, ``event`` takes QEMU's output and events line by line.
        ``incoming``: a pipe that a saved state comes through; the machine is stopped when it is loaded.
        Raises ConfigError where QEMU is not installed.
        """
        self._event = event
        self._lines: list[str] = []
        self._qmp, theirs = socket.socketpair()
        with theirs:
            words = arguments(console.fileno(), theirs.fileno())
            descriptors = [console.fileno(), theirs.fileno()]
            if incoming is not None:
                words = [*words, "-S", "-incoming", f"fd:{incoming}"]
                descriptors.append(incoming)
            self._process = _spawn(words, descriptors)
        self.pid = self._process.pid
        self.since = time.time()
        self.monitor = QMPClient(str(self.pid))
        self.ended: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._pidfd = os.pidfd_open(self.pid)
        asyncio.get_running_loop().add_reader(self._pidfd, self._reap)
        self._output = asyncio.create_task(self._read_output())
        self._events: asyncio.Task[None] | None = None

    @property
    def alive(self) -> bool:
        """Whether the process is there."""
        return not self.ended.done()

    async def ready(self, timeout: float = START_TIMEOUT) -> None:
        """Return when the monitor answers, that is when the machine exists and runs.

        Raises LabError with what QEMU said where it ends at once or does not answer; it is gone then.
        """
        try:
            self._qmp.setblocking(False)
            await asyncio.wait_for(self.monitor.connect(self._qmp), timeout)
        except (TimeoutError, QMPError) as error:
            await self.kill()
            said = await self.last_words()
            late = isinstance(error, asyncio.TimeoutError)
            why = f"QEMU did not answer within {timeout:.0f} s" if late else "QEMU ended at once"
            raise LabError(f"{why}: {said}") from None
        self._events = asyncio.create_task(self._read_events())

    async def kill(self) -> None:
        """End QEMU now, stopped or not, with all that it started; return when it is gone. Idempotent.

        Raises LabError where the kernel does not let it go.
        """
        if not self.ended.done():
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)
        try:
            await asyncio.wait_for(asyncio.shield(self.ended), END_TIMEOUT)
        except TimeoutError:
            raise LabError(
                f"QEMU (process {self.pid}) is still there {END_TIMEOUT:.0f} s after SIGKILL"
            ) from None

    async def last_words(self) -> str:
        """What a QEMU that has ended said."""
        await asyncio.wait({self._output}, timeout=1)
        return "\n".join(self._lines[-20:]) or f"exit status {self._process.returncode}, no message"

    def _reap(self) -> None:
        asyncio.get_running_loop().remove_reader(self._pidfd)
        os.close(self._pidfd)
        self.ended.set_result(self._process.wait())

    async def finish(self) -> None:
        """After the end: take the last output, and let go of everything."""
        await asyncio.wait({self._output}, timeout=1)
        self._output.cancel()
        # A monitor that did not connect has cleaned up after itself, and asserts that nobody else does.
        if self._events is not None:
            self._events.cancel()
            with contextlib.suppress(QMPError, OSError, EOFError):
                await self.monitor.disconnect()

    async def _read_output(self) -> None:
        pipe = self._process.stdout
        assert pipe is not None
        reader = asyncio.StreamReader()
        loop = asyncio.get_running_loop()
        transport, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), pipe)
        seen = 0
        rest = b""
        try:
            while data := await reader.read(65536):
                *lines, rest = (rest + data).split(b"\n")
                rest = rest[-4096:]
                if seen <= OUTPUT_LIMIT < seen + len(data):
                    self._event(f"qemu: more than {OUTPUT_LIMIT >> 20} MiB of output: the rest is not kept")
                seen += len(data)
                if seen <= OUTPUT_LIMIT:
                    for line in lines:
                        self._said(line)
            if rest:
                self._said(rest)
        finally:
            transport.close()

    def _said(self, line: bytes) -> None:
        text = line.decode(errors="backslashreplace").rstrip("\r")
        self._lines = [*self._lines[-99:], text]
        self._event(f"qemu: {text}")

    async def _read_events(self) -> None:
        async for event in self.monitor.events:
            data = event.get("data") or ""
            self._event(f"qmp: {event['event']} {data}".rstrip())


def _spawn(arguments: list[str], descriptors: list[int]) -> subprocess.Popen[bytes]:
    # stdbuf: edu reports a clamped DMA on stdout, which QEMU would keep in its buffer until it ends.
    prefix = ["stdbuf", "-oL"] if shutil.which("stdbuf") else []
    parent = os.getpid()

    def tie() -> None:
        die_with_parent()
        if os.getppid() != parent:  # it died before this was tied to it
            os._exit(1)

    return subprocess.Popen(
        [*prefix, require("qemu-system-aarch64"), *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        pass_fds=descriptors,
        start_new_session=True,  # a group of its own: what QEMU starts (migrate exec:) is killed with it
        preexec_fn=tie,
    )
