"""The virtual machine on this board: started, watched, asked, and its dma-bufs taken over.

One runs at a time. Its folder holds ``process`` (who it is), ``console`` (what the guest says), ``trace``,
``log`` (what the VMM says) and ``qmp`` (QEMU's monitor), so an agent also finds what another one started.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import signal
import time

from . import files, memfd, process
from .modules import load
from .qmp import Qmp

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

FOLDER = "/run/lab/vm"
HUGE = 2 << 20
PR_SET_PDEATHSIG = 1  # include/uapi/linux/prctl.h
QUIT = 3.0
"""Seconds that QEMU gets to end when its monitor is asked, before it is killed."""

_mine = False
_returncodes: dict[int, int] = {}
_monitor: tuple[int, Qmp] | None = None


def vm_start(
    argv: list[str], env: dict[str, str], folder: str = FOLDER, hugepages: int = 0, keep: bool = False
) -> dict[str, Any]:
    """Start a VMM and return ``{"pid"}``: it may still end at once, see `vm_status`.

    ``argv`` is complete, its files lie in ``folder``; ``env`` is added to this process's. ``hugepages``
    of 2 MiB are reserved and given back at the end. The VMM dies with this agent, unless ``keep``.
    ``OSError``: EBUSY when one runs already, ENOENT when there is no such program, ENOMEM when there are not
    so many huge pages.
    """
    global _mine
    vm_stop_dead()
    if _process() is not None:
        raise OSError(errno.EBUSY, "a virtual machine runs on this board already")
    os.makedirs(folder, exist_ok=True)
    for name in files.listing(folder):
        os.unlink(f"{folder}/{name}")
    load("vhost_vsock")
    added = _reserve(hugepages)
    try:
        pid = _spawn(argv, env, f"{folder}/log", keep)
    except OSError:
        memfd.give_back(added)
        raise
    with open(f"{FOLDER}/process", "w") as file:
        file.write(f"{pid} {process.start_time(pid)} {added} {folder}")
    _mine = not keep
    return {"pid": pid}


def vm_status() -> dict[str, Any]:
    """Return ``running``, ``pid``, ``returncode`` (negative: a signal; ``None``: not known), ``log``."""
    known = recorded()
    if known is None:
        return {"running": False, "pid": None, "returncode": None, "log": ""}
    pid, _, _, folder = known
    running = _process() is not None
    log = (files.read_or_none(f"{folder}/log") or "")[-2000:]
    return {"running": running, "pid": pid, "returncode": _returncodes.get(pid), "log": log}


def vm_stop(timeout: float = 10.0) -> dict[str, Any]:
    """End the VMM, by its monitor or by force, and return `vm_status`. Nothing if none runs.

    ``TimeoutError`` if it is still there ``timeout`` seconds after it was killed.
    """
    pid = _process()
    if pid is not None:
        watched = os.pidfd_open(pid)
        try:
            asked = False
            try:
                vm_qmp("quit", timeout=QUIT)
                asked = True
            except OSError:
                pass  # no QEMU, or one that does not listen
            if not (asked and process.ended(watched, QUIT)):
                with contextlib.suppress(ProcessLookupError):  # it ended while its monitor was waited for
                    signal.pidfd_send_signal(watched, signal.SIGKILL)
                if not process.ended(watched, timeout):
                    raise TimeoutError(None, f"the VMM (process {pid}) does not end within {timeout:g} s")
        finally:
            os.close(watched)
    status = vm_status()
    vm_stop_dead()
    return status


def vm_stop_dead() -> None:
    """Clean up after a VMM that has ended: its huge pages, its devices, its record. Nothing while it runs."""
    known = recorded()
    if known is not None and _process() is None:
        _disconnect()
        memfd.give_back(known[2])
        os.unlink(f"{FOLDER}/process")
        if files.listing("/run/lab/vfio"):  # else without the import
            from . import vfio

            vfio.reset()


def vm_qmp(
    command: str,
    arguments: dict[str, Any] | None = None,
    timeout: float = 10.0,
    descriptor: int | None = None,
) -> Any:
    """Return what QEMU's monitor answers. ``OSError`` where no QEMU runs or none answers in time.

    ``descriptor``: a file descriptor of this agent's to send along.
    """
    global _monitor
    known = recorded()
    pid = _process()
    if known is None or pid is None:
        raise OSError(errno.ESRCH, "no virtual machine runs on this board")
    if _monitor is not None and _monitor[0] != pid:
        _disconnect()
    deadline = time.monotonic() + timeout
    while _monitor is None:
        try:
            _monitor = pid, Qmp(f"{known[3]}/qmp", timeout)
        except (FileNotFoundError, ConnectionRefusedError) as error:
            if _process() is None or time.monotonic() > deadline:
                raise OSError(error.errno, f"QEMU does not listen on its monitor ({error})") from None
            time.sleep(0.05)
    try:
        return _monitor[1].execute(command, arguments, timeout, descriptor)
    except OSError as error:
        _disconnect()
        raise OSError(error.errno, f"QEMU did not answer {command} ({error})") from None


def vm_console(mark: int = 0) -> dict[str, Any]:
    """Return ``text`` that the guest wrote to its console after ``mark``, and the new ``mark``."""
    data = _tail("console", mark) or b""
    return {"text": data.decode(errors="backslashreplace").replace("\r", ""), "mark": mark + len(data)}


def vm_trace(mark: int = 0) -> dict[str, Any]:
    """Return ``lines`` of the VMM's trace after ``mark``, and the new ``mark``.

    ``lines`` is ``None`` where there is no trace: nobody listened, which is not "nothing happened".
    """
    data = _tail("trace", mark)
    if data is None:
        return {"lines": None, "mark": mark}
    whole = data[: data.rfind(b"\n") + 1]
    return {"lines": whole.decode(errors="backslashreplace").splitlines(), "mark": mark + len(whole)}


def release() -> None:
    """Let another agent have the VMM's monitor, which talks to one at a time."""
    _disconnect()


def close() -> None:
    """End what this agent started, as the agent ends."""
    if _mine:
        vm_stop()


def _spawn(argv: list[str], env: dict[str, str], log: str, keep: bool) -> int:
    """Fork and execute; ``OSError`` of the execution, in the words of the program's name."""
    libc = ctypes.CDLL(None, use_errno=True)
    reader, writer = os.pipe()
    environment = {**os.environ, **env}
    parent = os.getpid()
    pid = os.fork()
    if pid == 0:
        try:
            os.setsid()
            if not keep:
                libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
                if os.getppid() != parent:
                    os._exit(1)
            os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
            os.dup2(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), 1)
            os.dup2(1, 2)
            os.execvpe(argv[0], argv, environment)
        except OSError as error:
            os.write(writer, str(error.errno).encode())
        finally:
            os._exit(127)
    os.close(writer)
    with open(reader, "rb") as pipe:
        if failed := pipe.read():
            os.waitpid(pid, 0)
            raise OSError(int(failed), f"{argv[0]}: {os.strerror(int(failed))}")
    return pid


def recorded() -> tuple[int, int, int, str] | None:
    """Process, its start time, its huge pages and its folder; ``None`` when none was started."""
    text = files.read_or_none(f"{FOLDER}/process")
    if not text:
        return None
    pid, started, pages, folder = text.split(" ", 3)
    return int(pid), int(started), int(pages), folder


def _process() -> int | None:
    """The VMM's process if it runs; a child of this agent that has ended is reaped."""
    known = recorded()
    if known is None:
        return None
    pid, started, _, _ = known
    try:
        child, status = os.waitpid(pid, os.WNOHANG)
        if not child:
            return pid  # also while its threads end one by one, when its first one is a zombie already
        _returncodes[pid] = os.waitstatus_to_exitcode(status)
    except ChildProcessError:
        pass  # another agent's
    return pid if process.start_time(pid) == started else None


def alive() -> int:
    """Return the VMM's process; ``OSError`` ESRCH where none runs."""
    pid = _process()
    if pid is None:
        raise OSError(errno.ESRCH, "no virtual machine runs on this board")
    return pid


def _disconnect() -> None:
    global _monitor
    if _monitor is not None:
        _monitor[1].close()
        _monitor = None


def _reserve(count: int) -> int:
    """Reserve huge pages and return how many were added; ``OSError`` ENOMEM if not all can be."""
    if not count:
        return 0
    free = files.meminfo(files.read("/proc/meminfo"))["MemAvailable"]
    if count * HUGE > free:  # the attempt would squeeze the board until it stands still
        raise OSError(
            errno.ENOMEM, f"{count * HUGE >> 20} MiB of huge pages: the board has {free >> 20} MiB to give"
        )
    return memfd.reserve(count)


def _tail(name: str, mark: int) -> bytes | None:
    known = recorded()
    try:
        fd = os.open(f"{known[3] if known else FOLDER}/{name}", os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    with open(fd, "rb") as file:
        file.seek(mark)
        return file.read()
