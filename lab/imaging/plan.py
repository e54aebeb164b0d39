"""The key of every step of a build.

Keys follow from inputs alone, so a build with nothing changed only hashes some small files. The code
of a step is one of its inputs.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from lab.imaging import rootfs
from lab.imaging.apt import Package
from lab.imaging.cache import digest, digest_file, digest_tree
from lab.imaging.recipe import ModuleSource, Recipe
from lab.imaging.resolve import Packages, code


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
        prepared = {name: digest_file(path) for name, path in rootfs.prepared_sources().items()}
        return digest([self.root, overlay, self.modules, self.initrd, how, prepared])

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
        return digest([_hashes(self.packages.uboot), self.recipe.uboot.file, code("builder")])

    @cached_property
    def image(self) -> str:
        """Everything that goes into the image."""
        return digest([self.packages.release, self.squashfs, self.initrd, self.uboot, code("builder")])
