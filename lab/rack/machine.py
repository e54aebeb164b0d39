"""What a virtual board is made of: the ``virtual:`` section of a target file."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Any

from pydantic import Field, StringConstraints, ValidationError

from lab.base.errors import ConfigError
from lab.base.yamlfile import Strict

Word = Annotated[str, StringConstraints(min_length=1, pattern=r"^\S+$")]


class Machine(Strict):
    """A QEMU ``virt`` board. What every board has (U-Boot, disk, network, console) the rack adds.

    ``devices`` take the PCI slots from 1 on in the order given, so that a device's address on the
    board (``0000:00:01.0``) follows from the file; the rack's own devices have fixed high slots.
    """

    machine: Word = Field(description="-M, e.g. virt,virtualization=on,gic-version=3,iommu=smmuv3")
    cpu: Word = Field(description="-cpu, e.g. max,sve=off,pauth=off")
    smp: int = Field(default=2, ge=1, le=512, description="-smp: number of CPUs")
    memory: Annotated[str, StringConstraints(pattern=r"^[1-9][0-9]*[MG]$")] = Field(description="-m, e.g. 3G")
    disk: bool = Field(
        default=True, description="whether the root file system is a disk; false: it comes over the network"
    )
    devices: tuple[Word, ...] = Field(
        default=(), description="-device, one each, e.g. edu,dma_mask=0xfffffff"
    )
    extra: tuple[Annotated[str, StringConstraints(min_length=1)], ...] = Field(
        default=(), description="further arguments of QEMU, as they are"
    )


Location = tuple[int | str, ...]


def _plain(location: Location, message: str) -> ConfigError:
    return ConfigError(f"{'.'.join(map(str, location))}: {message}")


def machine(data: Mapping[str, Any], *, error: Callable[[Location, str], ConfigError] = _plain) -> Machine:
    """A target's ``virtual:`` section as a Machine.

    Raises the ConfigError that ``error`` makes of the place in the target file and the message:
    lab.boards' ``Target.error`` knows the line.
    """
    try:
        return Machine.model_validate(dict(data))
    except ValidationError as invalid:
        first = invalid.errors()[0]
        location: Location = ("virtual", *first["loc"])
        if first["type"] == "extra_forbidden":
            message = f"unknown key '{location[-1]}' (known: {', '.join(Machine.model_fields)})"
        elif first["type"] == "missing":
            message = f"key '{location[-1]}' is missing"
        elif first["type"] == "string_pattern_mismatch" and location[-1] == "memory":
            message = f"'{first['input']}' is not a size, such as 3G or 512M"
        else:
            message = first["msg"]
        raise error(location, message) from None
