"""What is known of a kind of board and its SoC: the models of a target file's facts (docs/targets.md).

Facts that differ between kernels are written for the oldest one, with the differences under ``kernels``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, StringConstraints, model_validator

from lab.base.words import IommuMode
from lab.base.yamlfile import Strict


def _mode(value: Any) -> Any:
    """YAML 1.1 reads a bare ``off`` as False."""
    return "off" if value is False else value


Mode = Annotated[IommuMode, BeforeValidator(_mode)]
Bits = Annotated[int, Field(ge=1, le=64)]
NodePath = Annotated[str, StringConstraints(pattern=r"^/\S*$")]
Series = Annotated[str, StringConstraints(pattern=r"^\d+\.\d+$")]
"""A kernel's series, "6.12"."""
Step = tuple[int, int]
"""Width and height that a frame's are rounded up to multiples of, in pixels."""


def version(release: str) -> tuple[int, int]:
    """Major and minor number of a kernel's release ("6.12.107+deb13-arm64") or series, to compare them."""
    found = re.match(r"(\d+)\.(\d+)", release)
    if found is None:
        raise ValueError(f"'{release}' is not a kernel version")
    return int(found[1]), int(found[2])


class Size(Strict):
    """How large the driver makes a frame's buffer: the rule, and bytes per plane of a 1920x1080 frame."""

    rule: str
    example: tuple[int, ...] = Field(default=(), max_length=4)

    @model_validator(mode="after")
    def _large_enough(self) -> Self:
        if self.example and sum(self.example) < 1920 * 1080 * 3 // 2:
            raise ValueError("a 4:2:0 frame of 1920x1080 has at least 3110400 bytes")
        return self


class Difference(Strict):
    """What another kernel does differently with a decoder."""

    coded: tuple[str, ...] | None = None
    raw: tuple[str, ...] | None = None
    step: Step | dict[str, Step] | None = None
    behind_iommu: bool | None = None


class Decoder(Strict):
    """One video decoder of the board: what it demands of memory, and how it is found.

    ``module`` is the kernel module of its driver, ``driver`` the driver's name on the device's bus.
    ``device`` is the name under /sys/bus/*/devices ("0000:00:10.0", "ff660000.video-codec").
    ``address_bits`` are the address lines that the hardware has, ``dma_mask`` the bits of the mask
    that its driver sets; they differ only on a board whose driver is wrong.

    The rest is known of a real SoC. ``node``: its node in the device tree, ``attached``: the nodes whose
    ``iommus`` or ``iommu-map`` put it behind the IOMMU, where that is not (only) its own. ``step``: one
    pair, or one per coded format. ``since``: the first kernel that has it. ``kconfig``: the option that
    builds the driver, ``in_debian``: whether Debian's kernel has it set. ``helpers``: compatible of each
    device that belongs to it besides its own -> the module that drives that. ``parts``: further modules of
    the driver. ``mask``: what the driver sets where that is no plain number of bits. ``kernels``:
    differences from that kernel on.
    """

    name: str
    module: str
    driver: str
    device: str
    dma_mask: Bits
    address_bits: Bits
    contiguous: bool
    behind_iommu: bool
    coded: tuple[str, ...] = ()
    raw: tuple[str, ...] = ()
    node: NodePath | None = None
    attached: tuple[NodePath, ...] = ()
    compatible: str | None = None
    helpers: dict[str, str] = Field(default_factory=dict)
    parts: tuple[str, ...] = ()
    api: Literal["stateful", "stateless"] | None = None
    planes: int = Field(default=1, ge=1, le=4)
    step: Step | dict[str, Step] | None = None
    size: Size | None = None
    mask: str = ""
    firmware: tuple[str, ...] = ()
    kconfig: str | None = None
    in_debian: bool = True
    since: Series | None = None
    kernels: dict[Series, Difference] = Field(default_factory=dict)
    notes: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()

    def __hash__(self) -> int:
        """By what tells the decoders of a board apart; the tables among the facts have no hash."""
        return hash((self.name, self.device))

    @property
    def modules(self) -> tuple[str, ...]:
        """All modules that the decoder's driver consists of."""
        return tuple(dict.fromkeys([self.module, *self.parts, *self.helpers.values()]))

    @property
    def nodes(self) -> tuple[str, ...]:
        """The device-tree nodes whose attachment to an IOMMU counts."""
        return self.attached or ((self.node,) if self.node else ())

    def there(self, release: str) -> bool:
        """Whether a mainline kernel of this release knows the decoder at all."""
        return self.since is None or version(release) >= version(self.since)

    def at(self, release: str) -> Self:
        """The decoder as a kernel of this release drives it."""
        changes: dict[str, Any] = {}
        for series in sorted(self.kernels, key=version):
            if version(release) >= version(series):
                changes |= self.kernels[series].model_dump(exclude_none=True)
        return self.model_copy(update=changes)


class TreeEdit(Strict):
    """What takes the decoders' IOMMU out of a device tree.

    ``by``: U-Boot's commands on the tree that it has, or libfdt on a tree that is sent to the board.
    ``remove``: this property goes, from the decoders' nodes that have it; ``disable``: nodes that get
    ``status = "disabled"``.
    """

    by: Literal["u-boot", "device-tree"] = "device-tree"
    remove: Literal["iommus", "iommu-map"] | None = None
    disable: tuple[NodePath, ...] = ()

    @model_validator(mode="after")
    def _does_something(self) -> Self:
        if self.remove is None and not self.disable:
            raise ValueError("remove or disable has to say what is done to the tree")
        return self


class ModeSetup(Strict):
    """What puts a boot into one IOMMU mode: kernel arguments, and an edit of the device tree."""

    kernel: tuple[str, ...] = ()
    tree: TreeEdit | None = None


class Iommu(Strict):
    """The IOMMU before the decoders. ``driver`` is None where the board has none.

    ``compatible``: of its nodes in the device tree, ``module``: of its driver, None where that is built
    in, ``log``: text that its driver prints at a fault, as the source has it between format letters,
    ``group``: who shares an IOMMU group with the decoder.
    """

    driver: str | None = None
    device: str | None = None
    compatible: tuple[str, ...] = ()
    kconfig: str | None = None
    module: str | None = None
    attachment: str = ""
    group: str = ""
    log: tuple[str, ...] = ()
    off_effect: str = ""
    notes: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()
    modes: dict[Mode, ModeSetup]
    default: tuple[Mode, ...] = ()

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if not self.modes:
            raise ValueError("at least one mode is needed")
        if self.driver is None and set(self.modes) != {IommuMode.OFF}:
            raise ValueError("without a driver the only mode is off")
        for mode in self.default:
            if mode not in self.modes:
                raise ValueError(f"default mode {mode} is not among the modes")
        return self


class Gpu(Strict):
    """The board's GPU: ``imports`` says what its driver asks of a dma-buf, ``mmu`` what maps it.

    ``since``: the first kernel whose device tree has its node. ``in_debian``: as for a decoder.
    """

    model: str
    driver: str
    module: str
    node: NodePath | None = None
    compatible: str | None = None
    behind_iommu: bool = False
    kconfig: str | None = None
    in_debian: bool = True
    since: Series | None = None
    imports: str = ""
    mmu: str = ""
    mask: str = ""
    firmware: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()

    def there(self, release: str) -> bool:
        """Whether the device tree of this kernel has its node."""
        return self.since is None or version(release) >= version(self.since)


class Uboot(Strict):
    """The board's U-Boot in Debian: the package, and the folder that it has for the board."""

    package: str
    board: str


class Kvm(Strict):
    """Whether Linux starts at EL2, so that the board can run virtual machines, and what that rests on."""

    usable: bool
    basis: str


class Contiguous(Strict):
    """Memory for buffers that must be contiguous. ``wants``: kernel argument that a mode without IOMMU needs.

    ``node``: the device tree's own reserved region, ``reserved``: what else is carved out of RAM.
    """

    node: NodePath | None = None
    wants: str = ""
    reserved: str = ""
    sources: tuple[str, ...] = ()


class Hookup(Strict):
    """How such a board is usually wired into a lab.

    ``resources``: labgrid's resources as the exporter (lab.yaml) gets them. ``drivers``: labgrid's drivers
    that are added where a place offers what they bind to, besides those under ``targets``.
    """

    resources: dict[str, dict[str, Any]] = Field(default_factory=dict)
    drivers: dict[str, dict[str, Any]] = Field(default_factory=dict)
    notes: tuple[str, ...] = ()


def find(facts: Mapping[str, Any], path: str) -> Any:
    """The fact at a dotted path; entries of lists by their ``name``. Raises KeyError where there is none."""
    value: Any = facts
    for part in path.split("."):
        if isinstance(value, Mapping):
            value = value[part]
        elif isinstance(value, (list, tuple)):
            value = next((item for item in value if isinstance(item, Mapping) and item["name"] == part), None)
        else:
            value = None
        if value is None:
            raise KeyError(path)
    return value
