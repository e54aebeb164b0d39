"""ioctl requests: numbers computed from the argument's size (include/uapi/asm-generic/ioctl.h)."""

from __future__ import annotations

import ctypes
import fcntl

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Argument = type[ctypes.Structure] | type[ctypes._SimpleCData[Any]]

_WRITE, _READ = 1, 2


class Request:
    """One ioctl request. Call it with a file descriptor and its argument, a ctypes object changed in place.

    ``OSError`` of a call carries the request's name: ``VIDIOC_QBUF: Bad address``.
    """

    __slots__ = ("name", "number")

    def __init__(self, name: str, number: int) -> None:
        self.name = name
        self.number = number

    def __call__(self, fd: int, argument: Any) -> int:
        """Do it and return what ioctl(2) returned; ``OSError`` as above."""
        try:
            result: int = fcntl.ioctl(fd, self.number, argument)
        except OSError as error:
            raise OSError(error.errno, f"{self.name}: {error.strerror}") from None
        return result


def _request(name: str, direction: int, kind: str, number: int, argument: Argument | None) -> Request:
    size = ctypes.sizeof(argument) if argument is not None else 0
    return Request(name, direction << 30 | size << 16 | ord(kind) << 8 | number)


def none(name: str, kind: str, number: int) -> Request:
    """``_IO(kind, number)``."""
    return _request(name, 0, kind, number, None)


def write(name: str, kind: str, number: int, argument: Argument) -> Request:
    """``_IOW(kind, number, argument)``: the kernel reads the argument."""
    return _request(name, _WRITE, kind, number, argument)


def read(name: str, kind: str, number: int, argument: Argument) -> Request:
    """``_IOR(kind, number, argument)``: the kernel writes the argument."""
    return _request(name, _READ, kind, number, argument)


def both(name: str, kind: str, number: int, argument: Argument) -> Request:
    """``_IOWR(kind, number, argument)``."""
    return _request(name, _READ | _WRITE, kind, number, argument)
