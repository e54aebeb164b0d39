"""The steps of a build: each makes one thing out of others, in the cache under its key."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING

from lab.base.errors import ConfigError
from lab.imaging import apt, drivers, initrd, kernel, mirror, modules, resolve, rootfs, toolchain
from lab.imaging.apt import Package
from lab.imaging.cache import Cache, Result, Work
from lab.imaging.modules import Installed
from lab.imaging.plan import Keys
from lab.imaging.recipe import BOARD, ExtraKernel, ExtraRoot, ModuleSource, Recipe
from lab.imaging.resolve import Packages

if TYPE_CHECKING:
    from lab.base import ui


class Steps:
    """The steps of one build, and what of them was done so far. They may run in any number of threads."""

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
        self.done: dict[str, Result] = {}
        self.task: ui.Task | None = None
        self._running: list[str] = []
        self._lock = Lock()
        self._asked_mirror = use_mirror
        self._mirror: str | None = None

    def mirror(self) -> str:
        """The mirror's address, asked for only when something has to be fetched."""
        with self._lock:
            if self._mirror is None:
                self._mirror = mirror.choose(self._asked_mirror)
            return self._mirror

    def step(self, name: str, key: str, make: Callable[[Work], None], *, kind: str = "") -> Path:
        """The folder of a step's result. ``kind``: where several results have one kind of key."""
        with self._shown(name):
            result = self.cache.step(kind or name, key, make, anew=self.rebuild)
        self.done[name] = result
        return result.path

    @contextmanager
    def _shown(self, name: str) -> Iterator[None]:
        self._show(add=name)
        yield
        self._show(drop=name)
        if self.task is not None:
            self.task.advance()

    def _show(self, *, add: str = "", drop: str = "") -> None:
        with self._lock:
            if add:
                self._running.append(add)
            elif drop in self._running:
                self._running.remove(drop)
            if self.task is not None:
                self.task.detail(", ".join(self._running))

    def packages(self, host: str) -> Packages:
        """The exact packages that the recipe means, for a build host's architecture."""

        def make(work: Work) -> None:
            resolve.resolve(work, self.recipe, host, self.mirror()).save(work.path)
            shutil.rmtree(work.path / "apt")

        return Packages.load(self.step("packages", resolve.resolve_key(self.recipe, host), make))

    def download(self, packages: list[Package], what: str) -> list[Path]:
        """The files of ``packages`` in their order; ``what`` is shown meanwhile."""
        self._show(add=f"download {what}")
        try:
            return apt.download(self.cache, packages, self.mirror)
        finally:
            self._show(drop=f"download {what}")

    def tools(self, keys: Keys, host: str) -> Path:
        """The compiler's tree, with the headers of all kernels."""

        def make(work: Work) -> None:
            debs = self.download(keys.packages.tools + keys.headers, "toolchain")
            tree = work.path / "tree"
            apt.unpack(work, debs, tree, toolchain.DROP)
            toolchain.wrap(tree, host)
            toolchain.unlink_paths(tree)

        return self.step("toolchain", keys.tools, make) / "tree"

    def sources(self, keys: Keys) -> Path | None:
        """Files out of the kernel's source; None where no module needs any."""
        if not keys.source_files:
            return None

        def make(work: Work) -> None:
            deb = self.download(keys.packages.source, "kernel source")[0]
            kernel.extract_sources(work, deb, keys.source_files, work.path / "source")
            deb.unlink(missing_ok=True)  # 150 MB for a few files: not kept

        return self.step("sources", keys.sources, make) / "source"

    def module(
        self,
        keys: Keys,
        module: ModuleSource,
        name: str,
        tools: Future[Path],
        sources: Future[Path | None],
    ) -> Path:
        """A folder of modules, built for the kernel ``name``."""
        key = keys.module(module, name)
        shown = Path(module.source).name + ("" if name == BOARD else f"-{name}")
        if not self.rebuild and self.cache.find("module", key):
            return self.step(shown, key, lambda work: None, kind="module")
        tree, files = tools.result(), sources.result()

        def make(work: Work) -> None:
            release = keys.releases[name]
            kernel.build_module(work, module, recipe=self.path, sources=files, tree=tree, release=release)

        return self.step(shown, key, make, kind="module")

    def root(self, keys: Keys, tools: Future[Path]) -> Path:
        """The unpacked packages."""

        def make(work: Work) -> None:
            debs = self.download(keys.packages.root, "root file system")
            rootfs.unpack(work, self.recipe, debs, keys.packages.release, tools.result)

        return self.step("root", keys.root, make) / "root"

    def extra_kernel(self, keys: Keys, extra: ExtraKernel) -> Path:
        """A root file system with another kernel and some of its modules."""
        packages = keys.packages.kernels[extra.name]
        initrd_modules = self.recipe.kernel.initrd_modules
        wanted = [*extra.modules, *initrd_modules.root, *initrd_modules.network]

        def make(work: Work) -> None:
            debs = self.download(packages.image, f"kernel {extra.name}")
            modules.unpack_extra(work, debs, packages.release, wanted)

        return self.step(f"kernel-{extra.name}", keys.extra_kernel(extra), make, kind="kernel") / "root"

    def extra_root(self, keys: Keys, extra: ExtraRoot) -> Path:
        """A root file system with packages under a prefix."""

        def make(work: Work) -> None:
            debs = self.download(keys.packages.roots[extra.prefix], extra.prefix)
            rootfs.unpack_beside(work, self.recipe, extra, debs)

        return self.step(extra.prefix, keys.extra_root(extra), make, kind="extra") / "root"

    def initrd(self, keys: Keys, name: str, root: Future[Path], holds: Future[Path]) -> Path:
        """The initramfs of the kernel ``name``, whose modules ``holds`` has."""
        base, modules_of = root.result(), holds.result()

        def make(work: Work) -> None:
            loaded = initrd.debian_modules(self.recipe, modules_of, keys.releases[name])
            scripts = self.path.parent / self.recipe.initramfs
            data = initrd.build(root=base, scripts=scripts, modules=loaded)
            (work.path / "initrd").write_bytes(data)

        shown = "initrd" if name == BOARD else f"initrd-{name}"
        return self.step(shown, keys.initrd(name), make, kind="initrd") / "initrd"

    def drivers(self, keys: Keys, root: Future[Path]) -> Path:
        """The archive of drivers for boards whose root file system comes over the network."""
        base = root.result()

        def make(work: Work) -> None:
            release = keys.packages.release
            data = drivers.build(modules.modules_folder(base, release), release, self.recipe.kernel.drivers)
            (work.path / "drivers").write_bytes(data)

        return self.step("drivers", keys.drivers, make) / "drivers"

    def squashfs(
        self, keys: Keys, root: Path, beside: Sequence[Path], kernels: Sequence[Installed], tree: Path
    ) -> Path:
        """The root file system of board and guest."""

        def make(work: Work) -> None:
            rootfs.squashfs(
                work,
                self.recipe,
                root=root,
                beside=beside,
                overlay=self.path.parent / self.recipe.overlay,
                kernels=kernels,
                tree=tree,
            )

        return self.step("squashfs", keys.squashfs, make) / "squashfs"

    def uboot(self, keys: Keys) -> Path:
        """The boot loader."""

        def make(work: Work) -> None:
            debs = self.download(keys.packages.uboot, "U-Boot")
            apt.unpack(work, debs, work.path / "tree")
            file = work.path / "tree" / self.recipe.uboot.file
            if not file.is_file():
                raise ConfigError(
                    f"{self.recipe.uboot.package} has no {self.recipe.uboot.file}", file=self.path
                )
            file.rename(work.path / "uboot")
            shutil.rmtree(work.path / "tree")

        return self.step("uboot", keys.uboot, make) / "uboot"
