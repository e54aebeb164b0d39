"""From a recipe to the exact packages, and from those to the key of every step.

Keys follow from inputs alone, so a build with nothing changed only hashes some small files. The code
of a step is one of its inputs.
"""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path

from lab.imaging import kernel, rootfs, toolchain
from lab.imaging.apt import Apt, Package
from lab.imaging.cache import Cache, Work, digest, digest_file, digest_tree
from lab.imaging.recipe import ModuleSource, Recipe

LOCK = "packages.json"


def code(*modules: str) -> dict[str, str]:
    """Hashes of modules of this package."""
    return {name: digest_file(Path(__file__).with_name(f"{name}.py")) for name in modules}


@dataclass(frozen=True)
class Packages:
    """The exact packages of one build: versions and hashes."""

    release: str
    """The kernel's release, as ``uname -r`` gives it."""
    root: list[Package]
    tools: list[Package]
    """Compiler and tools for the build host."""
    headers: list[Package]
    source: list[Package]
    uboot: list[Package]

    def save(self, folder: Path) -> None:
        """Write them down."""
        (folder / LOCK).write_text(json.dumps(asdict(self), indent=1))

    @classmethod
    def load(cls, folder: Path) -> Packages:
        """Read what ``save`` wrote."""
        data = json.loads((folder / LOCK).read_text())
        release = data.pop("release")
        return cls(release, **{name: [Package(**item) for item in items] for name, items in data.items()})


def resolve(work: Work, recipe: Recipe, host: str, mirror: str) -> Packages:
    """Ask the mirror's index which packages the recipe means today."""
    target = recipe.architecture
    apt = Apt(work, mirror, recipe.suite, sorted({target, host}))
    apt.update()
    root = apt.resolve(recipe.all_packages(), target)
    release = kernel.version(root)
    headers, common, kbuild = kernel.header_packages(release)
    with ThreadPoolExecutor(2) as pool:
        tools = pool.submit(apt.resolve, [*toolchain.packages(host, recipe.kernel.compiler), kbuild], host)
        header_files = apt.single([headers, common], target)
        source = f"{recipe.kernel.source}={header_files[0].version}"
        rest = apt.single([source, recipe.uboot.package], target)
        split = {package.name: package for package in rest}
        return Packages(
            release,
            root=root,
            tools=tools.result(),
            headers=header_files,
            source=[split[recipe.kernel.source]],
            uboot=[split[recipe.uboot.package]],
        )


def resolve_key(recipe: Recipe, host: str) -> str:
    """The key of the list of packages. The mirror is no part of it: all mirrors give the same files."""
    asked = [recipe.suite, recipe.architecture, recipe.all_packages(), recipe.uboot.package]
    asked += [recipe.kernel.source, recipe.kernel.compiler, recipe.kernel.package, host]
    return digest([asked, code("apt", "kernel", "toolchain", "plan")])


def _hashes(packages: list[Package]) -> list[str]:
    return [package.sha256 for package in packages]


@dataclass(frozen=True)
class Keys:
    """The key of every step of one build."""

    recipe: Recipe
    folder: Path
    """The recipe's folder."""
    packages: Packages

    @cached_property
    def tools(self) -> str:
        """Toolchain with kernel headers."""
        wanted = _hashes(self.packages.tools) + _hashes(self.packages.headers)
        return digest([wanted, code("apt", "toolchain")])

    @cached_property
    def source_files(self) -> list[str]:
        """The files of the kernel's source that modules need."""
        return sorted({name for module in self.recipe.modules for name in module.kernel_sources})

    @cached_property
    def sources(self) -> str:
        """Files out of the kernel's source."""
        return digest([_hashes(self.packages.source), self.source_files, code("kernel")])

    def module(self, module: ModuleSource) -> str:
        """One folder of kernel modules."""
        tree = digest_tree(self.folder / module.source)
        sources = self.sources if module.kernel_sources else ""
        return digest([module.model_dump(), tree, self.tools, sources, code("kernel", "toolchain")])

    @cached_property
    def modules(self) -> list[str]:
        """All of them, in the recipe's order."""
        return [self.module(module) for module in self.recipe.modules]

    @cached_property
    def root(self) -> str:
        """The unpacked packages."""
        recipe = self.recipe
        asked = [recipe.drop, recipe.directories, recipe.busybox, recipe.kernel.drop]
        return digest([_hashes(self.packages.root), asked, self.tools, code("apt", "rootfs")])

    @cached_property
    def squashfs(self) -> str:
        """The root file system."""
        overlay = digest_tree(self.folder / self.recipe.overlay)
        how = [self.recipe.compression, self.recipe.uncompressed]
        execnet = digest_file(rootfs.execnet_source())
        return digest([self.root, overlay, self.modules, self.initrd, how, execnet])

    @cached_property
    def initrd(self) -> str:
        """The initramfs."""
        scripts = digest_tree(self.folder / self.recipe.initramfs)
        return digest(
            [self.root, scripts, self.recipe.kernel.initrd_modules.model_dump(), code("initrd", "cpio")]
        )

    @cached_property
    def uboot(self) -> str:
        """The boot loader."""
        return digest([_hashes(self.packages.uboot), self.recipe.uboot.file, code("build")])

    @cached_property
    def image(self) -> str:
        """Everything that goes into the image."""
        return digest([self.packages.release, self.squashfs, self.initrd, self.uboot, code("build")])


def find_packages(cache: Cache, recipe: Recipe, host: str) -> Packages | None:
    """The packages of the last build of this recipe; None if it was never built."""
    found = cache.find("packages", resolve_key(recipe, host))
    return Packages.load(found.path) if found else None
