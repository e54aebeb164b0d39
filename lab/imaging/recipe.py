"""Recipes: what goes into an image, written in YAML under ``images/``."""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, StringConstraints

from lab.base import dirs, yamlfile
from lab.base.errors import ConfigError
from lab.base.yamlfile import Strict

PackageName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9+.\-]+$")]
Word = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.\-]*$")]


def _inside(value: str) -> str:
    path = PurePosixPath(value)
    if path.is_absolute() or ".." in path.parts or not path.parts:
        raise ValueError(f"'{value}' must be a path below its root, without '..'")
    return str(path)


Inside = Annotated[str, AfterValidator(_inside)]
"""A relative path that does not leave the folder it is relative to."""

BOARD = "board"
"""The name of the kernel that boards boot."""


class InitrdModules(Strict):
    """Module files that the initramfs carries, named as the files are, in the order of loading."""

    root: list[Word] = Field(min_length=1)
    """For the root file system."""
    network: list[Word] = Field(default_factory=list)
    """Loaded beside the rest."""


class Kernel(Strict):
    """The Debian kernel that board and guest boot."""

    package: PackageName
    source: PackageName
    """The package with the kernel's whole source: single files of it go into the modules."""
    compiler: PackageName
    """The compiler package that built the kernel, without architecture: ``gcc-14``."""
    initrd_modules: InitrdModules
    drivers: list[Inside] = Field(default_factory=list)
    """Module files and folders of them, below ``/lib/modules/VERSION``, by which a board reaches its network
    before it has a root file system; with what they depend on they are an archive of their own."""
    drop: list[Inside] = Field(default_factory=list)
    """Folders below ``/lib/modules/VERSION`` that no board of ours needs."""


class ModuleSource(Strict):
    """Kernel modules that are built out of tree and installed in ``/lib/modules/VERSION/updates``."""

    source: Inside
    """Folder beside the recipe with a ``Kbuild`` file."""
    kernel_sources: list[Inside] = Field(default_factory=list)
    """Files of the kernel's source that are put beside the module's own, without their folder. They are the
    board kernel's also where the module is built for another one."""
    kernels: list[Word] = Field(default=[BOARD], min_length=1)
    """The kernels it is built for: ``board``, and names of ``extra_kernels``."""


class ExtraKernel(Strict):
    """A kernel of another suite for guests: ``/boot/vmlinuz-NAME`` and ``/boot/initrd-NAME``.

    An image is built without it where the mirror lacks the suite.
    """

    name: Word
    suite: Word
    package: PackageName
    modules: list[Word] = Field(default_factory=list)
    """All that is kept of its modules, with what they depend on; those of the initramfs are kept anyway."""


class ExtraRoot(Strict):
    """Packages of another suite under a prefix of their own, less those that the image has anyway.

    What they depend on comes from the image's suite as far as its versions do. An image is built without
    it where the mirror lacks the suite.
    """

    prefix: Inside
    suite: Word
    packages: list[PackageName] = Field(min_length=1)
    drop: list[Inside] = Field(default_factory=list)
    """Paths of packages, without the prefix, that are left out."""
    links: dict[Inside, str] = Field(default_factory=dict)
    """Path without the prefix -> where the symbolic link there points to."""


class Uboot(Strict):
    """The boot loader: one file of a Debian package."""

    package: PackageName
    file: Inside


class Recipe(Strict):
    """One image. Paths are relative to the recipe's folder."""

    suite: Word
    architecture: Literal["arm64"] = "arm64"
    packages: list[PackageName] = Field(min_length=1)
    kernel: Kernel
    uboot: Uboot
    modules: list[ModuleSource] = Field(default_factory=list)
    extra_kernels: list[ExtraKernel] = Field(default_factory=list)
    extra_roots: list[ExtraRoot] = Field(default_factory=list)
    overlay: Inside
    initramfs: Inside
    drop: list[Inside] = Field(default_factory=list)
    """Paths (tar's wildcards allowed) of packages that the image leaves out."""
    directories: list[Inside] = Field(default_factory=list)
    """Empty folders: mount points."""
    busybox: list[Word] = Field(default_factory=list)
    """Applets that become commands where no package brings the command itself."""
    compression: Literal["lz4", "zstd", "gzip", "none"] = "lz4"
    """Of the squashfs."""
    uncompressed: list[Inside] = Field(default_factory=list)
    """Files and folders (wildcards allowed) that the squashfs holds as they are."""

    def all_packages(self) -> list[str]:
        """Every package that the root file system is made of."""
        return sorted({*self.packages, self.kernel.package})

    def extra_suites(self) -> list[str]:
        """The suites that the image can do without."""
        wanted = {one.suite for one in self.extra_kernels} | {one.suite for one in self.extra_roots}
        return sorted(wanted - {self.suite})


def find(name_or_path: str | Path) -> Path:
    """The recipe file of a name (``board-trixie``) or a path. Raises ConfigError where there is none."""
    path = Path(name_or_path)
    if path.suffix in (".yaml", ".yml") or len(path.parts) > 1:
        if not path.is_file():
            raise ConfigError("no such recipe", file=path)
        return path.resolve()
    folder = dirs.root() / "images"
    found = folder / f"{name_or_path}.yaml"
    if not found.is_file():
        known = ", ".join(sorted(file.stem for file in folder.glob("*.yaml"))) or "none"
        raise ConfigError(f"unknown image '{name_or_path}'", hint=f"known: {known}")
    return found


def load(path: Path) -> Recipe:
    """Read and check a recipe, and that the folders it names are there.

    Raises ConfigError with file and line.
    """
    recipe = yamlfile.load(path, Recipe)
    _, node = yamlfile.read(path)

    def wrong(location: tuple[int | str, ...], what: str) -> ConfigError:
        key = ".".join(str(part) for part in location)
        return ConfigError(f"{key}: {what}", file=path, line=yamlfile.line_of(node, location))

    named: list[tuple[tuple[int | str, ...], Path]] = [
        (("overlay",), path.parent / recipe.overlay),
        (("initramfs",), path.parent / recipe.initramfs),
    ]
    known = [BOARD, *(extra.name for extra in recipe.extra_kernels)]
    for index, module in enumerate(recipe.modules):
        named.append((("modules", index, "source"), path.parent / module.source / "Kbuild"))
        for unknown in set(module.kernels) - set(known):
            raise wrong(("modules", index, "kernels"), f"no kernel '{unknown}', only {', '.join(known)}")
    for location, wanted in named:
        if not wanted.exists():
            raise wrong(location, f"{wanted} does not exist")
    return recipe
