"""Target files: a labgrid environment plus the facts of one kind of board (docs/targets.md).

labgrid reads its own top-level keys and leaves ours alone; here ours are read into models and
labgrid's are kept as they stand, for `lab.boards.environment` to check and to write out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

import yaml
from pydantic import Field, PrivateAttr, model_validator

from lab.base import dirs, yamlfile
from lab.base.errors import ConfigError
from lab.base.words import IommuMode
from lab.base.yamlfile import Strict
from lab.boards import facts
from lab.boards.facts import Contiguous, Decoder, Gpu, Hookup, Iommu, Kvm, Uboot
from lab.boards.vmm import Vmm

if TYPE_CHECKING:
    from lab.imaging import Image

LABGRID_KEYS = ("targets", "imports", "options", "features", "images", "paths", "tools")
"""labgrid's own top-level keys (labgrid/config.py)."""


class Timeouts(Strict):
    """Seconds to wait in one boot. ``silence``: how long the console may say nothing; ``root``: from the
    initramfs's start until the root file system has come over the network."""

    load: float = Field(default=60, gt=0)
    root: float = Field(default=120, ge=1)
    linux: float = Field(default=60, gt=0)
    silence: float = Field(default=20, gt=0)


class AndroidImage(Strict):
    """What a fastboot board's loader wants of a boot image (`lab.imaging.androidboot.Layout`)."""

    header: Literal[0, 2] = 0
    base: int = Field(ge=0, lt=1 << 32)
    page: Literal[2048, 4096] = 4096


class Boot(Strict):
    """How U-Boot starts Linux. Addresses are U-Boot expressions and are put into the commands as they stand.

    ``network`` are the U-Boot commands that bring the network up before the first tftpboot,
    ``line`` how many characters it takes in one line (its CONFIG_SYS_CBSIZE), ``devicetree`` the address
    of the tree to edit and to hand over, ``ready`` what Linux says on the console when ssh accepts
    connections, ``python`` the program there that behaves as a Python interpreter.

    ``dtb`` is the device tree's file in the kernel's package; the board gets that tree, at the address
    ``tree``, instead of the one that its firmware has. ``loader`` is what starts Linux: the strategy
    knows U-Boot, and fastboot where ``android`` says what its boot images are like. ``uboot``: that of
    Debian for the board, to look things up in.

    ``packed`` is an address where the kernel is loaded compressed, to be unpacked at ``kernel``: less goes
    over the network. None: it is loaded as it is.

    ``root`` is where the root file system is: a disk that the board has (``/dev/vda``), or a file that the
    initramfs fetches into RAM by HTTP, from labgrid's HTTPProvider.
    """

    loader: Literal["u-boot", "depthcharge", "fastboot"] = "u-boot"
    android: AndroidImage | None = None
    uboot: Uboot | None = None
    root: Literal["disk", "http"] = "disk"
    dtb: str | None = None
    tree: str = "${fdt_addr_r}"

    kernel: str = "${kernel_addr_r}"
    packed: str | None = None
    initrd: str = "${ramdisk_addr_r}"
    devicetree: str = "${fdtcontroladdr}"
    network: tuple[str, ...] = ("setenv autoload no", "dhcp")
    line: int = Field(default=512, ge=256)
    console: str
    cmdline: str = ""
    ready: str = "LAB-READY"
    python: str = "/usr/lib/lab/agent-connect"
    timeouts: Timeouts = Timeouts()


class Target(Strict):
    """A kind of board. ``targets/NAME.yaml``; the file's name is the target's."""

    soc: str
    board: str
    compatible: str | None = None
    """The SoC's word in the root of its device tree."""
    image: str = "board-trixie"
    memory: str = Field(pattern=r"^\d+[MG]$")
    modules: dict[str, dict[str, str | int | tuple[int, ...]]] = Field(default_factory=dict)
    """Kernel modules that the agent loads, with their parameters, before the mode is verified."""
    decoders: tuple[Decoder, ...] = ()
    no_decoder: str = ""
    """Why a board without decoders is here nevertheless."""
    iommu: Iommu
    boot: Boot
    vmm: Vmm | None = None
    """The virtual machine that a run starts on the board; None where the board has no VMM."""
    virtual: dict[str, Any] | None = None
    """The machine that `lab.rack` starts; None for a physical board."""

    also: tuple[str, ...] = ()
    """Other boards that this file fits but for their names."""
    gpu: Gpu | None = None
    kvm: Kvm | None = None
    cma: Contiguous = Contiguous()
    hookup: Hookup = Hookup()
    notes: tuple[str, ...] = ()
    unverified: dict[str, str] = Field(default_factory=dict)
    """Dotted path of a fact that no source states (decoders by name) -> what it rests on."""

    targets: dict[str, Any]
    imports: list[str] = Field(default_factory=list)
    options: dict[str, Any] = Field(default_factory=dict)
    features: list[str] = Field(default_factory=list)
    images: dict[str, str] = Field(default_factory=dict)
    paths: dict[str, str] = Field(default_factory=dict)
    tools: dict[str, str] = Field(default_factory=dict)

    _path: Path = PrivateAttr()
    _node: yaml.Node | None = PrivateAttr(default=None)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        names = [decoder.name for decoder in self.decoders]
        if len(set(names)) < len(names):
            raise ValueError("two decoders have the same name")
        if bool(self.decoders) == bool(self.no_decoder):
            raise ValueError("decoders or no_decoder: a board has decoders, or a reason to have none")
        if "main" not in self.targets:
            raise ValueError("targets has no 'main'")
        if self.virtual is not None and self.virtual.get("memory") != self.memory:
            raise ValueError(f"memory is {self.memory}, but virtual.memory is {self.virtual.get('memory')}")
        return self

    @property
    def name(self) -> str:
        """The file's name without suffix."""
        return self._path.stem

    @property
    def path(self) -> Path:
        """The file."""
        return self._path

    @property
    def modes(self) -> list[IommuMode]:
        """The IOMMU modes that this board can be booted in."""
        return list(self.iommu.modes)

    @property
    def default_modes(self) -> list[IommuMode]:
        """The modes that a run without ``--iommu`` uses."""
        return list(self.iommu.default or self.iommu.modes)

    def mode(self, name: str) -> IommuMode:
        """The mode called ``name``. Raises ConfigError that names the modes which the target has."""
        known = ", ".join(self.modes)
        if name not in [mode.value for mode in self.modes]:
            raise ConfigError(f"target {self.name} has no IOMMU mode '{name}'", hint=f"it has {known}")
        return IommuMode(name)

    def decoder(self, name: str) -> Decoder:
        """The decoder called ``name``. Raises ConfigError that names the known ones."""
        for decoder in self.decoders:
            if decoder.name == name:
                return decoder
        known = ", ".join(decoder.name for decoder in self.decoders)
        raise ConfigError(f"target {self.name} has no decoder '{name}'", hint=f"it has {known}")

    def parameters(self, decoder: Decoder) -> dict[str, Any]:
        """Of its module's parameters those that are for ``decoder`` alone: where it is a machine's only one.

        A list has a value for each of the module's decoders, in their order here.
        """
        at = [one.name for one in self.decoders if one.module == decoder.module].index(decoder.name)
        return {
            name: [value[at]] if isinstance(value, tuple) else value
            for name, value in self.modules.get(decoder.module, {}).items()
            if not isinstance(value, tuple) or at < len(value)
        }

    def at(self, release: str) -> Self:
        """The target as a kernel of this release drives it: its decoders then, those that it knows."""
        known = tuple(decoder.at(release) for decoder in self.decoders if decoder.there(release))
        return self.model_copy(update={"decoders": known})

    def with_vmm(self, settings: Sequence[str]) -> Self:
        """The same target with ``KEY=VALUE`` pairs over its ``vmm:`` section. Raises ConfigError."""
        return self.model_copy(update={"vmm": (self.vmm or Vmm()).with_settings(settings)})

    def error(self, location: tuple[int | str, ...], message: str, *, hint: str = "") -> ConfigError:
        """A ConfigError about the key at ``location``, with file and line."""
        return ConfigError(message, file=self._path, line=yamlfile.line_of(self._node, location), hint=hint)

    @property
    def edits_tree(self) -> bool:
        """Whether a mode needs a device tree that is edited here and sent to the board."""
        edits = [setup.tree for setup in self.iommu.modes.values() if setup.tree is not None]
        return any(edit.by == "device-tree" for edit in edits)

    @property
    def serial_speed(self) -> int | None:
        """The speed of the serial adapter, in baud; None where the file names no adapter."""
        found = self.hookup.resources.get("USBSerialPort", {}).get("speed")
        return None if found is None else int(found)

    def fact_location(self, path: str) -> tuple[int | str, ...]:
        """Where in the file the fact at the dotted ``path`` stands, for `error`."""
        first, *rest = path.split(".")
        if first == "decoders" and rest:
            number = [decoder.name for decoder in self.decoders].index(rest[0])
            return ("decoders", number, *rest[1:])
        if first == "unverified" and rest:  # its keys are such paths themselves
            return (first, ".".join(rest))
        return (first, *rest)

    def line(self, path: str) -> int | None:
        """The line (from 1) of the fact at the dotted ``path``, or of what it would stand in."""
        return yamlfile.line_of(self._node, self.fact_location(path))

    def check_bootable(self) -> Self:
        """Raise ConfigError, with file and line, where the lab cannot boot boards of this kind."""
        if self.boot.loader == "fastboot" and (self.boot.android is None or self.boot.dtb is None):
            raise self.error(
                ("boot", "loader"),
                f"{self.name} boots by fastboot, and boot.android or boot.dtb is not there",
                hint="boot.android: {header: 0, base: 0x80000000, page: 4096}, as its boot images are",
            )
        if self.boot.loader not in ("u-boot", "fastboot"):
            raise self.error(
                ("boot", "loader"),
                f"{self.name} boots by {self.boot.loader}, which the lab cannot drive",
                hint="power, console and ssh of such a board work: lab power, lab console, lab shell",
            )
        return self

    def check(self) -> Self:
        """Hold labgrid's part against labgrid: classes exist and take the arguments. Imports labgrid (0.6 s).

        Raises ConfigError with file and line.
        """
        from lab.boards import environment

        environment.check(self)
        return self

    def write_environment(
        self,
        directory: Path,
        *,
        resources: Mapping[str, Mapping[str, Any]] | None = None,
        image: Image | None = None,
        keyfile: Path | None = None,
        boot_files: Path | None = None,
        served: Mapping[str, Mapping[str, str]] | None = None,
        dtb: Path | None = None,
        drivers: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> Path:
        """Write a labgrid environment for one board of this kind: ``directory/NAME.yaml``.

        See `lab.boards.environment.write`.
        """
        from lab.boards import environment

        return environment.write(
            self,
            directory,
            resources=resources,
            image=image,
            keyfile=keyfile,
            boot_files=boot_files,
            served=served,
            dtb=dtb,
            drivers=drivers,
        )


def folder() -> Path:
    """Where the targets of this checkout lie."""
    return dirs.root() / "targets"


def names() -> list[str]:
    """The names that `load_target` knows."""
    return sorted(path.stem for path in folder().glob("*.yaml"))


def names_file(name: str) -> bool:
    """Whether ``name`` is a target file's, and not that of a target of this checkout."""
    return name.endswith(".yaml") or len(Path(name).parts) != 1


def load_target(name: str | Path) -> Target:
    """Read the target called ``name``, or the target file ``name`` if that is a path or ends in .yaml.

    Raises ConfigError: no such target, or file, line and key of what is wrong in it.
    """
    path = Path(name)
    if isinstance(name, str) and not names_file(name):
        path = folder() / f"{name}.yaml"
        if not dirs.there(path):
            raise ConfigError(f"unknown target '{name}'", hint=f"known: {', '.join(names())}")
    target, target_node = yamlfile.load_with_lines(path, Target)
    target._path = path.resolve()
    target._node = target_node
    dumped = target.model_dump(mode="json")
    for fact in target.unverified:
        try:
            facts.find(dumped, fact)
        except KeyError:
            raise target.error(("unverified", fact), f"unverified: the file states no '{fact}'") from None
    return target
