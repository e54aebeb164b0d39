"""Flattened device trees (DTB): looked at and edited by libfdt, as boot loaders do.

libfdt is called where it lies on every machine that has QEMU (Debian: libfdt1). Its Python binding,
pylibfdt, comes as source only: installing it would take a compiler and Python's headers.
Source of the calls: libfdt.h of dtc.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator, Mapping
from functools import cache, cached_property
from pathlib import Path
from typing import Self

from lab.base.errors import ConfigError

NOT_FOUND = -1
"""FDT_ERR_NOTFOUND, negated as libfdt returns it."""

ROOM = 4096
"""Bytes that edits may add."""

_INT, _POINTER, _TEXT = ctypes.c_int, ctypes.c_void_p, ctypes.c_char_p
_LENGTH = ctypes.POINTER(ctypes.c_int)
_CALLS: Mapping[str, tuple[object, tuple[object, ...]]] = {
    "fdt_check_full": (_INT, (_POINTER, ctypes.c_size_t)),
    "fdt_open_into": (_INT, (_POINTER, _POINTER, _INT)),
    "fdt_pack": (_INT, (_POINTER,)),
    "fdt_next_node": (_INT, (_POINTER, _INT, _LENGTH)),
    "fdt_get_name": (_TEXT, (_POINTER, _INT, _LENGTH)),
    "fdt_path_offset": (_INT, (_POINTER, _TEXT)),
    "fdt_first_property_offset": (_INT, (_POINTER, _INT)),
    "fdt_next_property_offset": (_INT, (_POINTER, _INT)),
    "fdt_getprop_by_offset": (_POINTER, (_POINTER, _INT, ctypes.POINTER(_TEXT), _LENGTH)),
    "fdt_delprop": (_INT, (_POINTER, _INT, _TEXT)),
    "fdt_setprop": (_INT, (_POINTER, _INT, _TEXT, _TEXT, _INT)),
    "fdt_strerror": (_TEXT, (_INT,)),
}

Properties = Mapping[str, bytes]
Nodes = Mapping[str, Properties]


@cache
def _libfdt() -> ctypes.CDLL:
    try:
        library = ctypes.CDLL("libfdt.so.1")
    except OSError:
        raise ConfigError("libfdt is missing", hint="apt-get install libfdt1") from None
    for call, (result, arguments) in _CALLS.items():
        function = getattr(library, call)
        function.restype, function.argtypes = result, arguments
    return library


class DeviceTree:
    """One device tree. ``nodes``: path -> property -> value, as the tree has them now."""

    def __init__(self, data: bytes, *, name: str = "device tree") -> None:
        """Take the tree that is ``data``. Raises ConfigError, which ``name`` begins, where that is none."""
        self._name = name
        self._fdt = _libfdt()
        result = self._fdt.fdt_check_full(data, len(data))
        if result < 0:
            raise ConfigError(f"{name}: no device tree ({self._reason(result)})")
        self._blob = ctypes.create_string_buffer(len(data) + ROOM)
        self._must(self._fdt.fdt_open_into(data, self._blob, len(self._blob)), "open it")

    @classmethod
    def read(cls, path: Path) -> Self:
        """The tree in the file ``path``. Raises ConfigError where that cannot be read or is none."""
        try:
            return cls(path.read_bytes(), name=str(path))
        except OSError as error:
            raise ConfigError(f"cannot be read ({error.strerror})", file=path) from None

    @cached_property
    def nodes(self) -> Nodes:
        """Path -> property -> value of every node, ``/`` first, parents before their children."""
        return dict(self._walk())

    def remove(self, node: str, name: str) -> None:
        """Take the property ``name`` off ``node``. Raises ConfigError where it is not there."""
        self._must(self._fdt.fdt_delprop(self._blob, self._offset(node), name.encode()), f"{node} {name}")
        self._forget()

    def disable(self, node: str) -> None:
        """Give ``node`` the status that drivers do not bind to. Raises ConfigError where it is not there."""
        value = b"disabled\0"
        result = self._fdt.fdt_setprop(self._blob, self._offset(node), b"status", value, len(value))
        self._must(result, f"{node} status")
        self._forget()

    def blob(self) -> bytes:
        """The tree as a boot loader takes it."""
        copy = ctypes.create_string_buffer(self._blob.raw, len(self._blob))
        self._must(self._fdt.fdt_pack(copy), "pack it")
        return copy.raw[: int.from_bytes(copy.raw[4:8], "big")]  # totalsize, libfdt's struct fdt_header

    def _walk(self) -> Iterator[tuple[str, Properties]]:
        depth, length = ctypes.c_int(0), ctypes.c_int()
        parents: list[str] = []
        offset = 0
        while offset >= 0 and depth.value >= 0:
            name = self._fdt.fdt_get_name(self._blob, offset, ctypes.byref(length)).decode()
            parents = [*parents[: depth.value], name]
            yield "/".join(parents) or "/", dict(self._properties(offset))
            offset = self._fdt.fdt_next_node(self._blob, offset, ctypes.byref(depth))
        if offset < NOT_FOUND:
            self._must(offset, "read it")

    def _properties(self, node: int) -> Iterator[tuple[str, bytes]]:
        name, length = ctypes.c_char_p(), ctypes.c_int()
        offset = self._fdt.fdt_first_property_offset(self._blob, node)
        while offset >= 0:
            value = self._fdt.fdt_getprop_by_offset(
                self._blob, offset, ctypes.byref(name), ctypes.byref(length)
            )
            yield (name.value or b"").decode(), ctypes.string_at(value, length.value)
            offset = self._fdt.fdt_next_property_offset(self._blob, offset)

    def _offset(self, node: str) -> int:
        return self._must(self._fdt.fdt_path_offset(self._blob, node.encode()), f"node {node}")

    def _must(self, result: int, what: str) -> int:
        if result < 0:
            raise ConfigError(f"{self._name}: {what}: {self._reason(result)}")
        return result

    def _reason(self, result: int) -> str:
        reason: bytes = self._fdt.fdt_strerror(result)
        return reason.decode().removeprefix("FDT_ERR_")

    def _forget(self) -> None:
        self.__dict__.pop("nodes", None)
