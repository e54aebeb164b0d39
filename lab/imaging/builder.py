"""``build()``: from a recipe to kernel, initramfs, root file system and boot loader in the cache."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from typing import Any

from lab.base import dirs, ui
from lab.base.errors import ConfigError
from lab.imaging import apt, initrd, kernel, mirror, recipe, resolve, rootfs, toolchain
from lab.imaging.apt import Package
from lab.imaging.cache import Cache, Result, Work, no_space
from lab.imaging.image import FILES, MANIFEST, Image, manifest, read_image
from lab.imaging.plan import Keys
from lab.imaging.recipe import ModuleSource, Recipe
from lab.imaging.resolve import Packages

SPACE = 3 * 10**9
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


class Build:
    """One build: the recipe, the cache, and what was done so far."""

    def __init__(
        self,
        path: Path,
        wanted: Recipe,
        cache: Cache,
        *,
        rebuild: bool = False,
        use_mirror: str | None = None,
    ) -> None:
        self.path = path
        self.recipe = wanted
        self.cache = cache
        self.rebuild = rebuild
        self.steps: dict[str, Result] = {}
        self._running: list[str] = []
        self._lock = Lock()
        self._task: ui.Task | None = None
        self._asked_mirror = use_mirror
        self._mirror: str | None = None

    def image(self) -> Image:
        """Find the image or make it."""
        with self.cache.in_use():
            if not self.rebuild and (found := self.found()):
                return found
            host = toolchain.host_architecture()
            self.cache.sweep()
            with ui.task(f"image {self.path.stem}", total=8 + len(self.recipe.modules)) as self._task:
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

    def _folder(self, keys: Keys) -> Path:
        return self.cache.root / "images" / f"{self.path.stem}-{keys.image[:16]}"

    def mirror(self) -> str:
        """The mirror's address, asked for only when something has to be fetched."""
        with self._lock:
            if self._mirror is None:
                self._mirror = mirror.choose(self._asked_mirror)
            return self._mirror

    def _make(self, host: str) -> Image:
        free = shutil.disk_usage(self.cache.root).free
        if free < SPACE:
            raise no_space(self.cache.root, SPACE)
        packages = self._packages(host)
        keys = Keys(self.recipe, self.path.parent, packages)
        with ThreadPoolExecutor(16) as pool:
            tools = pool.submit(self._tools, keys, host)
            sources = pool.submit(self._sources, keys)
            root = pool.submit(self._root, keys, tools)
            modules = [
                pool.submit(self._module, keys, module, tools, sources) for module in self.recipe.modules
            ]
            ram = pool.submit(self._initrd, keys, root)
            squashfs = pool.submit(self._squashfs, keys, root, modules, tools, ram)
            uboot = pool.submit(self._uboot, keys)
            futures: list[Future[Any]] = [tools, sources, root, *modules, squashfs, ram, uboot]
            try:
                _raise_first(futures)
            except BaseException:
                self.cache.stop.set()
                pool.shutdown(wait=False, cancel_futures=True)
                raise
        made = {"root": root, "squashfs": squashfs, "initrd": ram, "uboot": uboot}
        return self._collect(keys, {name: future.result() for name, future in made.items()})

    def _step(self, name: str, key: str, make: Callable[[Work], None], *, step: str = "") -> Path:
        with self._shown(name):
            result = self.cache.step(step or name, key, make, anew=self.rebuild)
        self.steps[name] = result
        return result.path

    @contextmanager
    def _shown(self, name: str) -> Iterator[None]:
        self._show(add=name)
        yield
        self._show(drop=name)
        if self._task is not None:
            self._task.advance()

    def _show(self, *, add: str = "", drop: str = "") -> None:
        with self._lock:
            if add:
                self._running.append(add)
            elif drop in self._running:
                self._running.remove(drop)
            if self._task is not None:
                self._task.detail(", ".join(self._running))

    def _download(self, packages: list[Package], what: str) -> list[Path]:
        self._show(add=f"download {what}")
        try:
            return apt.download(self.cache, packages, self.mirror)
        finally:
            self._show(drop=f"download {what}")

    def _packages(self, host: str) -> Packages:
        def make(work: Work) -> None:
            resolve.resolve(work, self.recipe, host, self.mirror()).save(work.path)
            shutil.rmtree(work.path / "apt")

        return Packages.load(self._step("packages", resolve.resolve_key(self.recipe, host), make))

    def _tools(self, keys: Keys, host: str) -> Path:
        def make(work: Work) -> None:
            packages = keys.packages.tools + keys.packages.headers
            debs = self._download(packages, "toolchain")
            tree = work.path / "tree"
            apt.unpack(work, debs, tree, toolchain.DROP)
            toolchain.wrap(tree, host)
            toolchain.unlink_paths(tree)

        return self._step("toolchain", keys.tools, make) / "tree"

    def _sources(self, keys: Keys) -> Path | None:
        if not keys.source_files:
            return None

        def make(work: Work) -> None:
            deb = self._download(keys.packages.source, "kernel source")[0]
            kernel.extract_sources(work, deb, keys.source_files, work.path / "source")
            deb.unlink(missing_ok=True)  # 150 MB for a few files: not kept

        return self._step("sources", keys.sources, make) / "source"

    def _module(
        self, keys: Keys, module: ModuleSource, tools: Future[Path], sources: Future[Path | None]
    ) -> Path:
        key = keys.module(module)
        name = Path(module.source).name
        if not self.rebuild and self.cache.find("module", key):
            return self._step(name, key, lambda work: None, step="module")
        tree, files = tools.result(), sources.result()

        def make(work: Work) -> None:
            kernel.build_module(
                work,
                module,
                recipe=self.path,
                sources=files,
                tree=tree,
                release=keys.packages.release,
            )

        return self._step(name, key, make, step="module")

    def _root(self, keys: Keys, tools: Future[Path]) -> Path:
        def make(work: Work) -> None:
            debs = self._download(keys.packages.root, "root file system")
            rootfs.unpack(work, self.recipe, debs, keys.packages.release, tools.result)

        return self._step("root", keys.root, make) / "root"

    def _squashfs(
        self,
        keys: Keys,
        root: Future[Path],
        modules: list[Future[Path]],
        tools: Future[Path],
        ram: Future[Path],
    ) -> Path:
        tree, base, built = tools.result(), root.result(), [future.result() for future in modules]

        def make(work: Work) -> None:
            rootfs.squashfs(
                work,
                self.recipe,
                root=base,
                overlay=self.path.parent / self.recipe.overlay,
                modules=built,
                tree=tree,
                initrd=ram.result(),
                release=keys.packages.release,
            )

        return self._step("squashfs", keys.squashfs, make) / "squashfs"

    def _initrd(self, keys: Keys, root: Future[Path]) -> Path:
        base = root.result()

        def make(work: Work) -> None:
            scripts = self.path.parent / self.recipe.initramfs
            data = initrd.build(self.recipe, root=base, scripts=scripts, release=keys.packages.release)
            (work.path / "initrd").write_bytes(data)

        return self._step("initrd", keys.initrd, make) / "initrd"

    def _uboot(self, keys: Keys) -> Path:
        def make(work: Work) -> None:
            debs = self._download(keys.packages.uboot, "U-Boot")
            apt.unpack(work, debs, work.path / "tree")
            file = work.path / "tree" / self.recipe.uboot.file
            if not file.is_file():
                raise ConfigError(
                    f"{self.recipe.uboot.package} has no {self.recipe.uboot.file}", file=self.path
                )
            file.rename(work.path / "uboot")
            shutil.rmtree(work.path / "tree")

        return self._step("uboot", keys.uboot, make) / "uboot"

    def _collect(self, keys: Keys, made: dict[str, Path]) -> Image:
        made["kernel"] = made.pop("root") / "boot" / f"vmlinuz-{keys.packages.release}"

        def make(work: Work) -> None:
            for name in FILES:
                os.link(made[name], work.path / name)
            about = manifest(self.path.stem, keys, self.steps, work.path)
            (work.path / MANIFEST).write_text(json.dumps(about, indent=1) + "\n")

        folder = self._folder(keys)
        self.cache.fill(folder, "image", make, anew=self.rebuild)
        image = read_image(folder, cached=False)
        assert image is not None
        return image


def _raise_first(futures: list[Future[Any]]) -> None:
    """Wait for all; raise the first error as soon as it is there."""
    done, _ = wait(futures, return_when=FIRST_EXCEPTION)
    for future in done:
        future.result()
