"""Forks a ready Python for everyone who asks, since starting one takes a second under emulation.

``agent-connect`` writes its process number into the FIFO. The zygote opens the pipes that are that process's
stdin, stdout and stderr, and forks; the child has them as its own, reads one line and runs it, which is
how execnet starts Python at the far end (``import sys;exec(eval(sys.stdin.readline()))``). No process
stands between ssh and the agent. When the child ends, the zygote ends the waiting ``agent-connect``.

In a guest (argument ``guest``) those who ask come over vsock instead. On the board ``guest-connect`` writes
its number with the word ``guest``: that child joins its streams with such a connection.
"""

import _signal
import gc
import io
import marshal
import os
import select
import sys
import time

FIFO = "/run/lab/agent"
PREPARED = "/usr/lib/lab/prepared.bin"
"""What an agent is made of (lab/imaging/rootfs.py). What execnet sends first is run here already; the agent's
own modules take their code from ``sys.modules["prepared"]`` where the source is the same."""
AF_VSOCK, SOCK_STREAM, CID_ANY, GUEST_CID, GUEST_PORT = 40, 1, 0xFFFFFFFF, 3, 1000  # linux/vm_sockets.h
SO_VM_SOCKETS_CONNECT_TIMEOUT, EINPROGRESS = 6, 115
TRANSPORT = "/usr/lib/modules/{release}/kernel/net/vmw_vsock/vmw_vsock_virtio_transport.ko"
"""The last of a guest's modules for vsock; the script `zygote` loads those before it."""
MACHINE = "/run/lab/vm/process"
"""Is there while a virtual machine runs (lab/agent/vmm.py)."""
PATIENCE = 300
"""Seconds that a guest may take to boot. Whoever waits for it knows sooner, and goes."""

NEEDED = ("struct", "threading", "weakref")
"""What every agent imports before its first answer; loaded before anyone is served."""

ModuleType, ModuleSpec = type(sys), type(sys.__spec__)  # the modules that give these names lie in files

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


class Early:
    """Finds modules whose code came with the agent's: looking for their files would wait for the disk."""

    def __init__(self, codes):
        """``codes``: name -> place in Python's library, whether it is a package, the packed code."""
        self.codes = codes

    def find_spec(self, name, path=None, target=None):
        """As every finder's (importlib.abc.MetaPathFinder)."""
        if name not in self.codes:
            return None
        place, package, _ = self.codes[name]
        place = f"{os.path.dirname(os.__file__)}/{place}"
        spec = ModuleSpec(name, self, origin=place, is_package=package)
        spec.has_location = True
        if package:
            spec.submodule_search_locations.append(place.rpartition("/")[0])
        return spec

    def create_module(self, spec):
        """Leave it to Python."""

    def exec_module(self, module):
        """Run one."""
        exec(marshal.loads(self.codes[module.__name__][2]), module.__dict__)


class Later(ModuleType):
    """A module that is loaded at its first use."""

    def __getattr__(self, name):
        """Load the real module, put it in this one's place, and look there."""
        if name == "__path__":  # an import looks for it
            raise AttributeError(name)
        if sys.modules.get(self.__name__) is self:
            del sys.modules[self.__name__]
        return getattr(__import__(self.__name__), name)


class Traceback(Later):
    """execnet imports it for the text of an error: it takes the function, and rarely calls it."""

    def format_exception(self, *arguments):
        """As the real one."""
        return self.__getattr__("format_exception")(*arguments)


class Hints(Later):
    """The typing of a source that never looks at its annotations, as execnet's; the real one takes long."""

    Any = Callable = Iterator = Literal = MutableSet = None
    Protocol = object
    overload = staticmethod(lambda function: function)
    cast = staticmethod(lambda kind, value: value)


def serve():
    """Answer requests for ever."""
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
    """Import what is needed; give the source that an agent is likely to send, and the names that it defines.

    Nothing where that is not installed.
    """
    try:
        with open(PREPARED, "rb") as file:
            # load() would read it in a thousand pieces
            early, source, packed, modules = marshal.loads(file.read())
    except OSError:
        early, source, packed, modules = {}, None, None, {}
    sys.meta_path.insert(0, Early(early))
    for name in NEEDED:
        __import__(name)
    sys.modules["traceback"] = Traceback("traceback")
    if source is None:
        return None
    sys.modules["prepared"] = ModuleType("prepared")
    sys.modules["prepared"].modules = modules
    names = {"__name__": "__main__", "__builtins__": __builtins__}
    sys.modules["typing"] = Hints("typing")
    exec(marshal.loads(packed), names)
    sys.modules.pop("typing")
    gc.freeze()  # or a child's first collection copies all of it
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
    gc.enable()
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

    listening = _socket.socket(AF_VSOCK, SOCK_STREAM)
    listening.bind((CID_ANY, GUEST_PORT))
    listening.listen(8)
    _signal.signal(_signal.SIGCHLD, _signal.SIG_IGN)  # the kernel reaps
    transport = TRANSPORT.format(release=os.uname().release)
    # Last, since from then on connections are answered. By another program: a call from here takes ctypes.
    os.posix_spawn("/usr/bin/busybox", ("insmod", transport), {})
    prepared = prepare()
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
    gc.disable()  # it takes a third as long again as the imports; a child has it on
    serve_guest() if sys.argv[1:] == ["guest"] else serve()
