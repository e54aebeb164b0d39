"""A kernel's file as people have it: told from others by its header, unpacked to what U-Boot starts.

Sources: Linux, Documentation/arch/arm64/booting.rst (header of the Image), drivers/firmware/efi/libstub/
zboot-header.S (a compressed kernel in an EFI program), Documentation/arch/x86/boot.rst, arch/arm/boot/
compressed/head.S (zImage), Documentation/arch/riscv/boot-image-header.rst.
"""

from __future__ import annotations

import bz2
import lzma
import re
import subprocess
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import zstandard

from lab.base import proc
from lab.base.errors import ConfigError

ARM64 = b"ARM\x64"
ARM64_AT = 0x38
SIZE_AT = 0x10
"""Of the 64-bit little-endian size in memory, with what is zeroed; the file may be shorter."""

FOREIGN = (
    (0x202, b"HdrS", "x86"),
    (0x24, b"\x18\x28\x6f\x01", "32-bit ARM"),
    (0x38, b"RSC\x05", "RISC-V"),
)
"""Offset and magic of other architectures' kernels."""

COMPRESSED = {
    b"\x1f\x8b": "gzip",
    b"BZh": "bzip2",
    b"\xfd7zXZ\0": "xzkern",
    b"]\0\0": "lzma",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"\x02\x21\x4c\x18": "lz4",
    b"\x89LZO": "lzo",
}
"""First bytes of what ``make Image.gz`` and its like make (arch/arm64/boot/Makefile), and the compression."""

MACHINES = {
    3: "x86",
    20: "PowerPC",
    21: "PowerPC 64",
    22: "S/390",
    40: "32-bit ARM",
    62: "x86-64",
    183: "arm64",
}
MACHINES |= {8: "MIPS", 243: "RISC-V", 258: "LoongArch"}
"""e_machine of an ELF file (elf.h)."""

BANNER = re.compile(rb"Linux version (\S+) \(")
"""What the kernel says first (Linux, init/version.c)."""


@dataclass(frozen=True)
class KernelFile:
    """An arm64 kernel. ``image``: the uncompressed ``Image``. ``release``: as ``uname -r`` gives it."""

    image: bytes
    release: str


def read_kernel(path: Path) -> KernelFile:
    """The kernel in a file, which may be an Image, gzip'ed, or an EFI program with a compressed Image.

    Raises ConfigError, in one line, for what an arm64 board cannot boot.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"cannot be read ({error.strerror})", file=path) from None
    image = _unpack(path, data)
    for at, magic, name in FOREIGN:
        if image[at : at + len(magic)] == magic:
            raise ConfigError(f"is a kernel for {name}, the board is arm64", file=path)
    if image[:4] == b"\x7fELF":
        name = machine(image)
        hint = "give arch/arm64/boot/Image of the same build" if name == "arm64" else "the board is arm64"
        raise ConfigError(f"is an ELF file for {name}, not a kernel that U-Boot starts", file=path, hint=hint)
    if image[ARM64_AT : ARM64_AT + 4] != ARM64:
        raise ConfigError(
            "is no arm64 kernel: no Image, Image.gz or vmlinuz.efi",
            file=path,
            hint="give arch/arm64/boot/Image",
        )
    found = BANNER.search(image)
    if found is None:
        raise ConfigError(f"is cut short: {len(image)} bytes without 'Linux version'", file=path)
    wanted = int.from_bytes(image[SIZE_AT : SIZE_AT + 8], "little")
    if len(image) < wanted // 2:  # what comes behind the file in memory is .bss
        raise ConfigError(f"is cut short: {len(image)} bytes of {wanted}", file=path)
    return KernelFile(image, found[1].decode(errors="replace"))


def machine(data: bytes) -> str:
    """The architecture of an ELF file's first bytes; empty where it is none."""
    if data[:4] != b"\x7fELF" or len(data) < 20:
        return ""
    number = int.from_bytes(data[18:20], "big" if data[5] == 2 else "little")
    return MACHINES.get(number, f"machine {number}")


def _unpack(path: Path, data: bytes) -> bytes:
    """The Image in ``data``, which may be compressed, or the whole where it is neither."""
    if data[:2] == b"MZ" and data[4:8] == b"zimg":
        offset, size = (int.from_bytes(data[at : at + 4], "little") for at in (8, 12))
        kind = data[24:56].partition(b"\0")[0].decode(errors="replace")
        return _decompress(path, kind, data[offset : offset + size])
    for magic, kind in COMPRESSED.items():
        if data.startswith(magic):
            return _decompress(path, kind, data)
    return data


def _decompress(path: Path, kind: str, data: bytes) -> bytes:
    """Whatever is behind the compressed data is left alone: the kernel's build puts its size there."""
    try:
        if kind == "gzip":
            return _first(zlib.decompressobj(wbits=31), data)
        if kind == "bzip2":
            return _first(bz2.BZ2Decompressor(), data)
        if kind in ("xzkern", "lzma"):
            return _first(lzma.LZMADecompressor(), data)
        if kind.startswith("zstd"):
            return _first(zstandard.ZstdDecompressor().decompressobj(), data)
        if kind == "lz4":
            done = subprocess.run([proc.require("lz4"), "-dc"], input=data, capture_output=True, check=False)
            if not done.stdout:
                raise EOFError("lz4 finds nothing in it")
            return done.stdout
    except (OSError, EOFError, ValueError, zlib.error, lzma.LZMAError, zstandard.ZstdError) as error:
        raise ConfigError(f"its compressed kernel is damaged ({error})", file=path) from None
    raise ConfigError(
        f"its kernel is compressed by {kind or 'nothing known'}", file=path, hint="give the Image"
    )


def _first(decompressor: Any, data: bytes) -> bytes:
    """The first stream in ``data``. Raises EOFError where it does not end."""
    found: bytes = decompressor.decompress(data)
    if not decompressor.eof:
        raise EOFError("it does not end")
    return found
