"""Forks a ready Python for everyone who asks, since starting one takes a second under emulation.

``agent-connect`` writes its process number into the FIFO. The zygote opens the pipes that are that process's
stdin, stdout and stderr, and forks; the child has them as its own, reads one line and runs it, which is
how execnet starts Python at the far end (``import sys;exec(eval(sys.stdin.readline()))``). No process
stands between ssh and the agent. When the child ends, the zygote ends the waiting ``agent-connect``.

In a guest (argument ``guest``) those who ask come over vsock instead. On the board ``guest-connect`` writes
its number with the word ``guest``: that child joins its streams with such a connection.
"""

import _signal
import io
import marshal
import os
import select
import sys
import time
import types

FIFO = "/run/lab/agent"
PREPARED = "/usr/lib/lab/prepared.bin"
"""What an agent is made of (lab/imaging/rootfs.py). What execnet sends first is run here already; the agent's
own modules take their code from ``sys.modules["prepared"]`` where the source is the same."""
SYS_FINIT_MODULE = 273  # include/uapi/asm-generic/unistd.h
AF_VSOCK, SOCK_STREAM, CID_ANY, GUEST_CID, GUEST_PORT = 40, 1, 0xFFFFFFFF, 3, 1000  # linux/vm_sockets.h
SO_VM_SOCKETS_CONNECT_TIMEOUT, EINPROGRESS = 6, 115
VSOCK = ("vsock", "vmw_vsock_virtio_transport_common", "vmw_vsock_virtio_transport")
"""A guest's modules for vsock (net/vmw_vsock), in the order of loading."""
MACHINE = "/run/lab/vm/process"
"""Is there while a virtual machine runs (lab/agent/vmm.py)."""
PATIENCE = 300
"""Seconds that a guest may take to boot. Whoever waits for it knows sooner, and goes."""

NEEDED = ("struct", "threading", "weakref", "typing")
"""What every agent imports before its first answer; loaded before anyone is served."""

WANTED = (
    "ctypes",
    "queue",
    "mmap",
    "fcntl",
    "errno",
    "re",
    "signal",
    "traceback",
    "subprocess",
    "json",
    "socket",
)
"""Loaded while nobody asks."""


class Later(types.ModuleType):
    """A module that is loaded at its first use: execnet imports traceback only in case of an error."""

    def __getattr__(self, name):
        """Load the real module, put it in this one's place, and look there."""
        del sys.modules[self.__name__]
        return getattr(__import__(self.__name__), name)


def serve():
    """Answer requests for ever."""
    for name in NEEDED:
        __import__(name)
    sys.modules["traceback"] = Later("traceback")
    prepared = prepare()
    fifo = os.open(FIFO, os.O_RDWR | os.O_CLOEXEC)  # O_RDWR: no end of file when a writer goes
    callers = {}
    wanted = list(WANTED)
    poll = select.poll()
    poll.register(fifo, select.POLLIN)
    pending = b""
    while True:
        ready = poll.poll(0 if wanted else None)
        for number, _ in ready:
            if number in callers:
                poll.unregister(number)
                release(number, callers.pop(number))
                continue
            *lines, pending = (pending + os.read(fifo, 4096)).split(b"\n")
            for line in lines:
                number, *guest = line.split()
                work = join_guest if guest else become_agent
                try:
                    child, caller = answer(int(number), os.fstat(fifo), work, prepared)
                except OSError:  # it is gone already
                    continue
                callers[child] = caller
                poll.register(child, select.POLLIN)
        if wanted and not ready:
            name = wanted.pop(0)
            if isinstance(sys.modules.get(name), Later):
                del sys.modules[name]
            __import__(name)


def prepare():
    """The source that an agent is likely to send, and the names that it defines; nothing if not installed."""
    try:
        with open(PREPARED, "rb") as file:
            source, packed, modules = marshal.loads(file.read())  # load() would read it in a thousand pieces
    except OSError:
        return None
    sys.modules["prepared"] = types.ModuleType("prepared")
    sys.modules["prepared"].modules = modules
    names = {"__name__": "__main__", "__builtins__": __builtins__}
    exec(marshal.loads(packed), names)
    return source, names


def answer(number, fifo, work, prepared):
    """Fork a child that has the streams of process ``number`` and does ``work``; give the pidfds of both."""
    caller = os.pidfd_open(number)
    while any(os.path.samestat(os.stat(path), fifo) for path in streams_of(number)):
        time.sleep(0.001)  # its shell has not yet put stdout back after writing its number
    modes = (os.O_RDONLY, os.O_WRONLY, os.O_WRONLY)
    streams = [os.open(path, mode) for path, mode in zip(streams_of(number), modes, strict=True)]
    child = os.fork()
    if child == 0:
        os.setsid()
        for target, stream in enumerate(streams):
            os.dup2(stream, target)
        os.closerange(3, max(streams) + 64)
        work(prepared)
    for stream in streams:
        os.close(stream)
    return os.pidfd_open(child), caller


def streams_of(number):
    """The pipes that ssh's server gave a process, to be opened by name: pidfd_getfd would need ctypes."""
    return [f"/proc/{number}/fd/{stream}" for stream in range(3)]


def release(child, caller):
    """The child has ended: end the ``agent-connect`` that waits for it."""
    os.waitid(os.P_PIDFD, child, os.WEXITED)
    os.close(child)
    try:
        _signal.pidfd_send_signal(caller, _signal.SIGTERM)
    except ProcessLookupError:
        pass
    os.close(caller)


def become_agent(prepared):
    """Run what the far end sends, then exit."""
    status = 1
    try:
        os.chdir("/root")
        sys.stdin = io.TextIOWrapper(io.BufferedReader(io.FileIO(0, closefd=False)), "utf-8")
        sys.stdout = io.TextIOWrapper(io.FileIO(1, "w", closefd=False), "utf-8", write_through=True)
        sys.stderr = io.TextIOWrapper(io.FileIO(2, "w", closefd=False), "utf-8", write_through=True)
        source, names = eval(sys.stdin.readline()), {"__name__": "__main__", "__builtins__": __builtins__}
        if prepared and isinstance(source, str) and source.startswith(prepared[0]):
            source, names = source[len(prepared[0]) :], prepared[1]
        exec(source, names)
        status = 0
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        os._exit(status)


def join_guest(_prepared):
    """Carry bytes between this process's streams and the guest's zygote until either side ends."""
    try:
        connection = connect()
        streams = select.poll()
        streams.register(0, select.POLLIN)
        streams.register(1, 0)  # tells that its reader has gone
        streams.register(connection, select.POLLIN)
        while True:
            for number, _ in streams.poll():
                source, sink = (connection, 1) if number == connection else (0, connection)
                if number == 1 or not (data := os.read(source, 1 << 16)):
                    return
                while data:
                    data = data[os.write(sink, data) :]
    except OSError:
        pass  # the guest has gone: whoever waits for it sees the end of the connection, and says so better
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        os._exit(1)


def connect():
    """A connection to the guest's zygote; the kernel keeps the request for a guest that still boots."""
    import _socket
    import ctypes

    libc = ctypes.CDLL(None)  # Python's setsockopt gives a vsock one word, and this is a struct timeval
    timeout = int.to_bytes(PATIENCE, 8, sys.byteorder) + bytes(8)
    end = time.monotonic() + PATIENCE
    machine = running_machine()
    while machine and running_machine() == machine and time.monotonic() < end:
        connection = _socket.socket(AF_VSOCK, SOCK_STREAM)
        libc.setsockopt(connection.fileno(), AF_VSOCK, SO_VM_SOCKETS_CONNECT_TIMEOUT, timeout, len(timeout))
        connection.setblocking(False)
        refused = connection.connect_ex((GUEST_CID, GUEST_PORT))
        if refused == EINPROGRESS:
            wait = select.poll()
            wait.register(connection, select.POLLOUT)
            wait.register(1, 0)  # tells that its reader has gone
            while not (ready := wait.poll(500)) and running_machine() == machine:
                pass  # the end of a machine is not told to who is not connected yet
            if [number for number, _ in ready] != [connection.fileno()]:
                break
            refused = connection.getsockopt(_socket.SOL_SOCKET, _socket.SO_ERROR)
        if not refused:
            connection.setblocking(True)
            return connection.detach()
        connection.close()  # the machine has no vsock yet, or its zygote does not listen yet
        time.sleep(0.05)
    raise OSError("no guest to connect to")


def running_machine():
    """What tells one virtual machine on this board from the next; nothing while there is none."""
    try:
        with open(MACHINE, "rb") as file:
            return file.read()
    except FileNotFoundError:
        return None


def serve_guest():
    """Answer for ever who connects over vsock; the board is the only one who can."""
    import _socket
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)
    folder = f"/usr/lib/modules/{os.uname().release}/kernel/net/vmw_vsock"
    *first, transport = [os.open(f"{folder}/{name}.ko", os.O_RDONLY | os.O_CLOEXEC) for name in VSOCK]
    for module in first:
        libc.syscall(SYS_FINIT_MODULE, module, b"", 0)
    listening = _socket.socket(AF_VSOCK, SOCK_STREAM)
    listening.bind((CID_ANY, GUEST_PORT))
    listening.listen(8)
    libc.syscall(SYS_FINIT_MODULE, transport, b"", 0)  # last: from here on connections are answered
    for name in NEEDED:
        __import__(name)
    sys.modules["traceback"] = Later("traceback")
    prepared = prepare()
    _signal.signal(_signal.SIGCHLD, _signal.SIG_IGN)  # the kernel reaps
    while True:
        connection, _ = listening._accept()
        if os.fork() == 0:
            _signal.signal(_signal.SIGCHLD, _signal.SIG_DFL)
            os.setsid()
            os.dup2(connection, 0)
            os.dup2(connection, 1)
            os.closerange(3, connection + 64)
            become_agent(prepared)
        os.close(connection)


if __name__ == "__main__":
    serve_guest() if sys.argv[1:] == ["guest"] else serve()
