"""The key of every step of a build.

Keys follow from inputs alone, so a build with nothing changed only hashes some small files. The code
of a step is one of its inputs.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from lab.imaging import rootfs
from lab.imaging.apt import Package
from lab.imaging.cache import digest, digest_file, digest_tree
from lab.imaging.recipe import BOARD, ExtraKernel, ExtraRoot, ModuleSource, Recipe
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
        wanted = _hashes(self.packages.tools) + _hashes(self.headers)
        return digest([wanted, code("apt", "toolchain")])

    @property
    def headers(self) -> list[Package]:
        """The headers of all kernels."""
        extra = [package for one in self.packages.kernels.values() for package in one.headers]
        return self.packages.headers + extra

    @cached_property
    def releases(self) -> dict[str, str]:
        """Name -> release of the kernels that this image has."""
        extra = {name: one.release for name, one in self.packages.kernels.items()}
        return {BOARD: self.packages.release, **extra}

    @cached_property
    def extra_kernels(self) -> list[ExtraKernel]:
        """Those of the recipe's that can be had."""
        return [extra for extra in self.recipe.extra_kernels if extra.name in self.packages.kernels]

    @cached_property
    def extra_roots(self) -> list[ExtraRoot]:
        """Those of the recipe's that can be had."""
        return [extra for extra in self.recipe.extra_roots if extra.prefix in self.packages.roots]

    @cached_property
    def source_files(self) -> list[str]:
        """The files of the kernel's source that modules need."""
        return sorted({name for module in self.recipe.modules for name in module.kernel_sources})

    @cached_property
    def sources(self) -> str:
        """Files out of the kernel's source."""
        return digest([_hashes(self.packages.source), self.source_files, code("kernel")])

    def module(self, module: ModuleSource, kernel: str) -> str:
        """One folder of kernel modules, built for one kernel."""
        tree = digest_tree(self.folder / module.source)
        sources = self.sources if module.kernel_sources else ""
        asked = [module.model_dump(exclude={"kernels"}), self.releases[kernel]]
        return digest([asked, tree, self.tools, sources, code("kernel", "toolchain")])

    @cached_property
    def builds(self) -> list[tuple[ModuleSource, str]]:
        """The recipe's folders of modules, each with a kernel that it is built for."""
        return [
            (module, kernel)
            for module in self.recipe.modules
            for kernel in module.kernels
            if kernel in self.releases
        ]

    @cached_property
    def root(self) -> str:
        """The unpacked packages."""
        recipe = self.recipe
        asked = [recipe.drop, recipe.directories, recipe.busybox, recipe.kernel.drop]
        return digest([_hashes(self.packages.root), asked, self.tools, code("apt", "modules", "rootfs")])

    @cached_property
    def squashfs(self) -> str:
        """The root file system."""
        overlay = digest_tree(self.folder / self.recipe.overlay)
        how = [self.recipe.compression, self.recipe.uncompressed]
        prepared = {name: digest_file(path) for name, path in rootfs.prepared_sources().items()}
        modules = [self.module(*build) for build in self.builds]
        initrds = [self.initrd(kernel) for kernel in self.releases]
        extra = [self.extra_kernel(one) for one in self.extra_kernels]
        extra += [self.extra_root(one) for one in self.extra_roots]
        return digest([self.root, overlay, modules, initrds, extra, how, prepared])

    def initrd(self, kernel: str) -> str:
        """The initramfs of a kernel."""
        scripts = digest_tree(self.folder / self.recipe.initramfs)
        modules = next((self.extra_kernel(one) for one in self.extra_kernels if one.name == kernel), "")
        wanted = self.recipe.kernel.initrd_modules.model_dump()
        return digest([self.root, modules, scripts, wanted, code("initrd", "cpio", "modules")])

    def extra_kernel(self, extra: ExtraKernel) -> str:
        """A kernel beside the board's, with what is kept of its modules."""
        image = _hashes(self.packages.kernels[extra.name].image)
        wanted = self.recipe.kernel.initrd_modules.model_dump()
        return digest([image, extra.modules, wanted, code("apt", "modules")])

    def extra_root(self, extra: ExtraRoot) -> str:
        """Packages under a prefix."""
        packages = _hashes(self.packages.roots[extra.prefix])
        return digest([packages, extra.model_dump(), self.recipe.drop, code("apt", "rootfs")])

    def kernel_image(self, kernel: str) -> list[Package]:
        """The packages of a kernel itself and its modules."""
        if kernel != BOARD:
            return self.packages.kernels[kernel].image
        return [one for one in self.packages.root if one.name.endswith(f"-{self.packages.release}")]

    def kernel_files(self, kernel: str) -> str:
        """A kernel's packages, taken apart for questions about it."""
        return digest([_hashes(self.kernel_image(kernel)), code("apt", "kernels")])

    @cached_property
    def uboot(self) -> str:
        """The boot loader."""
        return digest([_hashes(self.packages.uboot), self.recipe.uboot.file, code("steps")])

    @cached_property
    def drivers(self) -> str:
        """The archive of drivers for a root file system from the network."""
        return digest([self.root, self.recipe.kernel.drivers, code("drivers", "cpio", "modules")])

    @cached_property
    def image(self) -> str:
        """Everything that goes into the image."""
        made = [self.squashfs, self.initrd(BOARD), self.drivers, self.uboot]
        return digest([self.packages.release, self.packages.missing, made, code("builder", "image")])

    def steps(self) -> Iterator[tuple[str, str]]:
        """Step and key of everything in the cache that the recipe leads to."""
        yield "toolchain", self.tools
        yield "sources", self.sources
        yield "root", self.root
        yield "squashfs", self.squashfs
        yield "uboot", self.uboot
        yield "drivers", self.drivers
        for build in self.builds:
            yield "module", self.module(*build)
        for kernel in self.releases:
            yield "initrd", self.initrd(kernel)
            yield "kernel-files", self.kernel_files(kernel)
        for extra_kernel in self.extra_kernels:
            yield "kernel", self.extra_kernel(extra_kernel)
        for extra_root in self.extra_roots:
            yield "extra", self.extra_root(extra_root)
