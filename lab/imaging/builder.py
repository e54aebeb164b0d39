"""``build()``: from a recipe to kernel, initramfs, root file system and boot loader in the cache."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterable
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

from lab.base import dirs
from lab.base.errors import ConfigError, LabError
from lab.imaging import recipe, resolve, toolchain
from lab.imaging.cache import Cache, Work, no_space
from lab.imaging.image import MANIFEST, Image, manifest, pack, read_image
from lab.imaging.modules import Installed
from lab.imaging.plan import Keys
from lab.imaging.recipe import BOARD
from lab.imaging.steps import Steps

UNFIT = re.compile(r"""[\s:'"$`\\#;&|<>()*?\[\]]""")
"""What neither make(1) nor a shell leaves alone."""

SPACE = 4 * 10**9
"""Bytes that a build from nothing needs at its peak."""


def image_cache() -> Cache:
    """The cache of all images of this user."""
    return Cache(dirs.cache() / "imaging")


def build(
    name_or_path: str | Path = "board-trixie", *, rebuild: bool = False, use_mirror: str | None = None
) -> Image:
    """The image of a recipe, built as far as anything that goes into it has changed.

    ``rebuild`` asks the mirror for the newest packages and makes every step again; ``use_mirror`` is the
    mirror's address. Raises ConfigError (recipe, missing program, full disk) or LabError (mirror, build).
    """
    path = recipe.find(name_or_path)
    return Build(path, recipe.load(path), image_cache(), rebuild=rebuild, use_mirror=use_mirror).image()


def find(name_or_path: str | Path = "board-trixie") -> Image | None:
    """The image of a recipe if it lies in the cache as it would be built now; nothing is made.

    Raises ConfigError (recipe).
    """
    path = recipe.find(name_or_path)
    wanted = Build(path, recipe.load(path), image_cache())
    with wanted.cache.in_use():
        return wanted.found()


class Build(Steps):
    """One build: which steps it takes, and what of them waits for what."""

    def image(self) -> Image:
        """Find the image or make it."""
        with self.cache.in_use():
            if not self.rebuild and (found := self.found()):
                return found
            from lab.base import ui  # rich: a run that finds its image shows nothing

            host = toolchain.host_architecture()
            self.cache.sweep()
            with ui.task(f"image {self.path.stem}", total=self._expected()) as self.task:
                return self._make(host)

    def found(self) -> Image | None:
        """The image, if it is there already."""
        packages = resolve.find_packages(self.cache, self.recipe, toolchain.host_architecture())
        if packages is None:
            return None
        found = read_image(self._folder(Keys(self.recipe, self.path.parent, packages)), cached=True)
        if found is not None:
            os.utime(found.path)
        return found

    def _expected(self) -> int:
        """The number of steps with all that the recipe asks for, for the progress bar."""
        modules = sum(len(module.kernels) for module in self.recipe.modules)
        always = 8  # packages, toolchain, sources, root, initrd, drivers, squashfs, uboot
        return always + modules + 2 * len(self.recipe.extra_kernels) + len(self.recipe.extra_roots)

    def _folder(self, keys: Keys) -> Path:
        return self.cache.root / "images" / f"{self.path.stem}-{keys.image[:16]}"

    def _make(self, host: str) -> Image:
        if found := UNFIT.search(str(self.cache.root)):
            raise ConfigError(
                f"no image can be built in '{self.cache.root}': the kernel's build takes no {found[0]!r}",
                hint="set XDG_CACHE_HOME to another folder",
            )
        free = shutil.disk_usage(self.cache.root).free
        if free < SPACE:
            raise no_space(self.cache.root, SPACE)
        from lab.base import ui

        packages = self.packages(host)
        for name, reason in packages.missing.items():
            ui.err.print(
                f"warning: image {self.path.stem} has no {name}: {reason}", style="yellow", soft_wrap=True
            )
        keys = Keys(self.recipe, self.path.parent, packages)
        with ThreadPoolExecutor(24) as pool:
            tools = pool.submit(self.tools, keys, host)
            sources = pool.submit(self.sources, keys)
            root = pool.submit(self.root, keys, tools)
            beside = {one.name: pool.submit(self.extra_kernel, keys, one) for one in keys.extra_kernels}
            roots = [pool.submit(self.extra_root, keys, one) for one in keys.extra_roots]
            built = [
                (name, pool.submit(self.module, keys, module, name, tools, sources))
                for module, name in keys.builds
            ]
            ram = {
                name: pool.submit(self.initrd, keys, name, root, beside.get(name, root))
                for name in keys.releases
            }
            uboot = pool.submit(self.uboot, keys)
            drivers = pool.submit(self.drivers, keys, root)
            parts = [root, *beside.values(), *roots, *(future for _, future in built), *ram.values(), tools]

            def whole() -> Path:
                """The squashfs, of all that is made before it."""
                _raise_first(parts)
                kernels = [
                    Installed(
                        name, release, ram[name].result(), [f.result() for of, f in built if of == name]
                    )
                    for name, release in keys.releases.items()
                ]
                extra = [future.result() for future in (*beside.values(), *roots)]
                return self.squashfs(keys, root.result(), extra, kernels, tools.result())

            squashfs = pool.submit(whole)
            try:
                _raise_first([*parts, sources, uboot, drivers, squashfs])
            except BaseException:
                self.cache.stop.set()
                pool.shutdown(wait=False, cancel_futures=True)
                raise
        made = {"root": root, "squashfs": squashfs, "initrd": ram[BOARD], "uboot": uboot, "drivers": drivers}
        return self._collect(keys, {name: future.result() for name, future in made.items()})

    def _collect(self, keys: Keys, made: dict[str, Path]) -> Image:
        made["kernel"] = made.pop("root") / "boot" / f"vmlinuz-{keys.packages.release}"

        def make(work: Work) -> None:
            for name, path in made.items():
                os.link(path, work.path / name)
            pack(made["kernel"], work.path / "packed")
            about = manifest(self.path.stem, keys, self.done, work.path)
            (work.path / MANIFEST).write_text(json.dumps(about, indent=1) + "\n")

        folder = self._folder(keys)
        self.cache.fill(folder, "image", make, anew=self.rebuild)
        image = read_image(folder, cached=False)
        if image is None:
            raise LabError(f"the new image in {folder} is not whole", hint="try again")
        return image


def _raise_first(futures: Iterable[Future[Any]]) -> None:
    """Wait for all; raise the first error as soon as it is there."""
    done, _ = wait(futures, return_when=FIRST_EXCEPTION)
    for future in done:
        future.result()
