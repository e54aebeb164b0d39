"""The kernels that take the place of an image's: files, modules, and ours that are built for them."""

from __future__ import annotations

import shutil
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path

from lab.base.errors import ConfigError
from lab.imaging import toolchain
from lab.imaging.cache import Work, digest, digest_file, digest_tree
from lab.imaging.image import Image
from lab.imaging.own import buildtree, external, unpack
from lab.imaging.own.given import Own
from lab.imaging.own.kernelfile import read_kernel
from lab.imaging.own.modules import Known
from lab.imaging.plan import Keys
from lab.imaging.recipe import BOARD, ExtraKernel
from lab.imaging.steps import Steps


@dataclass(frozen=True)
class Kernel:
    """A kernel that a board or guest will run."""

    image: Path
    release: str
    modules: Path | None
    """The folder of its modules; None where nothing but the kernel was given."""
    in_image: bool
    """The image's root file system has those modules already."""
    built: tuple[Path, ...] = ()
    """Folders of modules of ours that were built for it."""
    known: Known = field(default_factory=Known)
    """What it can load, or has built in."""


class Kernels:
    """Takes them from what ``own`` gives, by steps whose results are in the cache."""

    def __init__(self, steps: Steps, keys: Keys, base: Image, own: Own) -> None:
        """``base``: the image whose kernel stays where none is given."""
        self.steps = steps
        self.keys = keys
        self.base = base
        self.own = own

    def kernel(self, given: Path | None) -> Kernel:
        """The kernel that ``given`` names, with the modules there are for it; None: the image's own."""
        if given is None:
            release = self.keys.packages.release
            taken, file = None, self.base.kernel
        else:
            taken = self._taken(kernel_path(given))
            file, release = taken / "kernel", (taken / "release").read_text()
        folders = {} if taken is None else {path.name: path for path in (taken / "modules").iterdir()}
        modules = folders.get(release)
        if self.own.modules and given is not None and modules is None:
            has = ", ".join(folders) or "no kernel"
            raise ConfigError(
                f"has modules for {has}, but the kernel is {release}",
                file=self.own.modules[0],
                hint="--modules",
            )
        in_image = modules is None and release == self.keys.packages.release and self.own.headers is None
        if modules is None:
            modules = self._stock_modules(release)
        built = self._built(release)
        names = (name for folder in built for name in folder.glob("*.ko"))
        known = Known.of(modules, names, ours=external.names_of(self.steps.recipe, self.steps.path.parent))
        return Kernel(file, release, modules, in_image, built, known)

    def stock(self, extra: ExtraKernel) -> Kernel:
        """One of the image's kernels for guests, as the image has it."""
        root, release = self.steps.extra_kernel(self.keys, extra), self.keys.releases[extra.name]
        modules = root / "usr/lib/modules" / release
        known = Known.of(modules, (), ours=frozenset())
        return Kernel(root / f"boot/vmlinuz-{release}", release, modules, in_image=True, known=known)

    def _taken(self, kernel: Path) -> Path:
        """Kernel and modules, unpacked: ``kernel`` (an Image), ``release``, ``modules/RELEASE``."""
        sources = [] if unpack.is_kernel_file(kernel) else [kernel]
        sources += [path for path in self.own.modules if path != kernel]
        wanted = [content(path)["digest"] for path in dict.fromkeys((kernel, *sources))]
        drop = self.steps.recipe.kernel.drop

        def make(work: Work) -> None:
            found = read_kernel(kernel) if unpack.is_kernel_file(kernel) else None
            tree = work.path / "tree"
            tree.mkdir()
            for number, source in enumerate(sources):
                one = tree / str(number)
                unpack.unpack(work, source, one, drop)
                unpack.check_modules(one, source)
            if found is None:
                file = unpack.kernel_in(tree / "0")
                if file is None:
                    raise ConfigError(
                        "has no kernel", file=kernel, hint="give it to --modules, and its Image to --kernel"
                    )
                found = read_kernel(file)
            (work.path / "kernel").write_bytes(found.image)
            (work.path / "release").write_text(found.release)
            unpack.merge(tree, work.path / "modules")
            shutil.rmtree(tree)
            unpack.strip(work, work.path / "modules", self.tools())

        return self.steps.step("own-kernel", digest([wanted, drop, code()]), make)

    def tools(self) -> Path:
        """The compiler's tree."""
        return self.steps.tools(self.keys, toolchain.host_architecture())

    def root(self) -> Path:
        """The unpacked packages of the image."""
        tools: Future[Path] = Future()
        tools.set_result(self.tools())
        return self.steps.root(self.keys, tools)

    def _stock_modules(self, release: str) -> Path | None:
        """The modules of one of the image's kernels, where this is one by its release."""
        if release == self.keys.packages.release:
            return self.root() / "usr/lib/modules" / release
        for extra in self.keys.extra_kernels:
            if self.keys.releases[extra.name] == release:
                return self.steps.extra_kernel(self.keys, extra) / "usr/lib/modules" / release
        return None

    def _built(self, release: str) -> tuple[Path, ...]:
        """The recipe's own modules for a kernel: built against given headers, or as the image has them."""
        tools: Future[Path] = Future()
        tools.set_result(self.tools())
        sources: Future[Path | None] = Future()
        sources.set_result(self.steps.sources(self.keys))
        if self.own.headers is not None:
            folders = [module for module in self.steps.recipe.modules if BOARD in module.kernels]
            return tuple(
                external.build(
                    self.steps, self.keys, module, self.own.headers, release, tools.result(), sources.result()
                )
                for module in folders
            )
        return tuple(
            self.steps.module(self.keys, module, name, tools, sources)
            for module, name in self.keys.builds
            if self.keys.releases[name] == release
        )


def kernel_path(given: Path) -> Path:
    """The kernel's file, also where ``given`` is the folder that it was built in. Raises ConfigError."""
    if buildtree.build_folder(given) != given:
        return given
    if not (built := given / buildtree.IMAGE).is_file():
        raise ConfigError(f"has no {buildtree.IMAGE}", file=given, hint="make ARCH=arm64 Image modules")
    return built


def content(path: Path) -> dict[str, str]:
    """Name and content of a file or folder. Raises ConfigError where it cannot be read."""
    try:
        if buildtree.build_folder(path) == path:
            found = buildtree.content(path)
        else:
            found = digest(digest_tree(path)) if path.is_dir() else digest_file(path)
    except OSError as error:
        raise ConfigError(f"cannot be read ({error.strerror})", file=error.filename or path) from None
    return {"name": path.name or path.absolute().name, "digest": found}


def code() -> dict[str, str]:
    """The code of this package is part of what it makes."""
    return {path.name: digest_file(path) for path in sorted(Path(__file__).parent.glob("*.py"))}
