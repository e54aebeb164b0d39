"""An image with parts of one's own: the cached image's other parts are linked, nothing of them is made again.

A kernel that is not the image's gets an initramfs of its own. What has to be in the root file system (its
modules, files of an overlay, a guest's kernel) is a small squashfs in that initramfs, which the initramfs
lays over the image's by overlayfs. So it takes the way of every kernel, on every board.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from lab.base.errors import ConfigError, LabError
from lab.imaging import cpio, drivers, initrd, recipe, toolchain
from lab.imaging.builder import image_cache
from lab.imaging.cache import Work, digest, digest_file
from lab.imaging.image import DTB, FILES, MANIFEST, MODULES, Image, pack, read_image
from lab.imaging.own import external, layer, unpack, vmm
from lab.imaging.own.buildtree import build_folder
from lab.imaging.own.given import VMM_FOLDER, Own
from lab.imaging.own.kernelfile import read_kernel
from lab.imaging.own.kernels import Kernel, Kernels, code, content, kernel_path
from lab.imaging.plan import Keys
from lab.imaging.recipe import BOARD
from lab.imaging.steps import Steps

LAYER = "layer.squashfs"
"""In the initramfs; images/initramfs/init mounts it."""

LAYERED = ("loop", "overlay")
"""Modules that it needs for that."""

LAYER_FORMAT = "squashfs"

NETWORK_ROOT = ("loop", "squashfs")
"""Modules that mount a root file system which came over the network; images/initramfs/netroot."""

GUEST = "own"
"""Behind the names of the guest's kernel and initramfs in ``/boot`` (`lab.boards.vmms.command`)."""

DTB_MAGIC = b"\xd0\x0d\xfe\xed"


def derive(base: Image, name_or_path: str | Path, own: Own, *, network: bool = False) -> Image:
    """The image ``base`` of the recipe with what ``own`` gives, from the cache if it was made before.

    ``network``: for boards whose root file system comes over the network, so with drivers for their cards.
    Raises ConfigError for what cannot be used, in one line that names the file; LabError where building
    modules for its kernel fails.
    """
    path = recipe.find(name_or_path)
    if not own.modules:  # a folder that a kernel was built in has its modules
        folders = (
            built for kernel in (own.kernel, own.guest_kernel) if kernel and (built := build_folder(kernel))
        )
        own = replace(own, modules=tuple(dict.fromkeys(folders)))
    return _Derivation(Steps(path, recipe.load(path), image_cache()), base, own.check(), network).image()


def examine(own: Own) -> None:
    """Raise ConfigError for what can be seen of files alone, without an image."""
    for path in (own.kernel, own.guest_kernel):
        if path is not None and unpack.is_kernel_file(found := kernel_path(path)):
            read_kernel(found)
    if own.dtb is not None:
        _checked_tree(own.dtb)
    if own.vmm is not None and not any(map(unpack.is_package, own.vmm[1])):
        kind, given = own.vmm
        vmm.find(kind, given[0], given)


class _Derivation:
    def __init__(self, steps: Steps, base: Image, own: Own, network: bool) -> None:
        self.network = network and own.kernel is not None
        self.steps = steps
        self.base = base
        self.own = own
        self.recipe = steps.recipe
        self.cache = steps.cache

    def image(self) -> Image:
        with self.cache.in_use():
            self.keys = Keys(
                self.recipe, self.steps.path.parent, self.steps.packages(toolchain.host_architecture())
            )
            self.kernels = Kernels(self.steps, self.keys, self.base, self.own)
            about = self._about()
            made_by = [code(), self.keys.initrd(BOARD), self.keys.drivers if self.network else ""]
            key = digest([self.base.digest, about, made_by])
            folder = self.cache.root / "images" / f"{self.base.name}-own-{key[:16]}"
            if found := read_image(folder, cached=True):
                return found
            self.cache.fill(folder, "image", lambda work: self._make(work, key, about))
            image = read_image(folder, cached=False)
        if image is None:
            raise LabError(f"the new image in {folder} is not whole", hint="try again")
        return image

    def _about(self) -> dict[str, object]:
        """What was given, by content, and by the names that people know it by."""
        own = self.own
        found: dict[str, object] = {}
        for name in ("kernel", "guest_kernel", "dtb", "overlay"):
            if (path := getattr(own, name)) is not None:
                found[name] = content(kernel_path(path) if name.endswith("kernel") else path)
        if own.modules:
            found["modules"] = [content(path) for path in own.modules]
        if own.headers is not None:
            found["headers"] = {"name": own.headers.name, "digest": external.headers_digest(own.headers)}
        if own.cmdline:
            found["cmdline"] = own.cmdline
        if own.vmm is not None:
            kind, given = own.vmm
            contents = [vmm.content(kind, path) for path in given]
            self.vmm = self._vmm(contents)
            version = (self.vmm / "version").read_text()
            found["vmm"] = {
                "name": f"{kind}={given[0].name}",
                "digest": contents[0] if len(given) == 1 else digest(contents),
                **({"version": version} if version else {}),
            }
        return found

    def _vmm(self, contents: list[str]) -> Path:
        """The VMM as the board gets it, a step whose result is in the cache."""
        assert self.own.vmm is not None
        kind, given = self.own.vmm
        key = digest([kind, contents, self.keys.root, code()])
        return self.steps.step(
            "own-vmm",
            key,
            lambda work: vmm.make(work, kind, given, self.kernels.root(), self.kernels.tools()),
        )

    def _make(self, work: Work, key: str, about: dict[str, object]) -> None:
        own = self.own
        if own.dtb is not None:
            (work.path / DTB).write_bytes(_checked_tree(own.dtb))
        board = self.kernels.kernel(own.kernel)
        stage = work.path / "layer"
        if own.overlay is not None:
            layer.lay(work, own.overlay, stage)
        if own.vmm is not None:
            target = stage / VMM_FOLDER.lstrip("/")
            target.parent.mkdir(parents=True, exist_ok=True)
            work.run(["cp", "-al", self.vmm / "vmm", target], what="copying the VMM")
        for name, kernel in self._guests():
            self._guest(work, name, kernel, stage)
        with ThreadPoolExecutor(2) as pool:  # beside depmod and mksquashfs
            packed = pool.submit(pack, board.image, work.path / "packed") if own.kernel is not None else None
            archive = pool.submit(self._drivers, board) if self.network and not board.in_image else None
            layer.install(work, board, stage, self.kernels.tools)
            layered = stage.is_dir()
            data = self._initrd(board, stage if layered else None, work)
            (work.path / "initrd").write_bytes(data)
            if archive is not None:
                (work.path / "drivers").write_bytes(archive.result())
            if packed is not None:
                packed.result()
        for name in FILES:
            if not (work.path / name).exists():
                os.link(board.image if name == "kernel" else self.base.path / name, work.path / name)
        (work.path / MODULES).write_text(json.dumps(board.known.plain() | {"virtual": self._virtual()}))
        shutil.rmtree(stage, ignore_errors=True)
        files = dict(self.base.manifest["files"])
        for name in ("kernel", "packed", "initrd", "drivers"):
            file = work.path / name
            files[name] = {"sha256": digest_file(file), "size": file.stat().st_size}
        manifest = {
            **self.base.manifest,
            "digest": key,
            "base": self.base.digest,
            "built": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "kernel": board.release,
            "own": about,
            "files": files,
        }
        (work.path / MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n")

    def _drivers(self, kernel: Kernel) -> bytes:
        """What the network cards of boards without a disk want, as far as this kernel has it as modules."""
        if lacking := kernel.known.lacking(NETWORK_ROOT):
            raise ConfigError(
                f"kernel {kernel.release} lacks {', '.join(lacking)}, for a root from the network",
                hint="give the modules of this kernel by --modules, or build these in",
            )
        folder = kernel.modules or self.base.path  # without modules: everything is built in
        wanted = self.recipe.kernel.drivers if kernel.modules else []
        return drivers.build(folder, kernel.release, wanted, read=unpack.read_module, complete=False)

    def _virtual(self) -> list[str]:
        """The modules that a virtual board has its root file system and its network by."""
        wanted = self.recipe.kernel.initrd_modules
        return [*wanted.root, *wanted.network]

    def _guests(self) -> Iterator[tuple[str, Kernel]]:
        """Guests' kernels that are not as the image has them: one's own, and with an overlay all of them."""
        if self.own.overlay is not None:
            yield "", self.kernels.kernel(None)
            for extra in self.keys.extra_kernels:
                yield f"-{extra.name}", self.kernels.stock(extra)
        if self.own.guest_kernel is not None:
            yield f"-{GUEST}", self.kernels.kernel(self.own.guest_kernel)

    def _guest(self, work: Work, suffix: str, kernel: Kernel, stage: Path) -> None:
        """The guest's initramfs, which brings modules and the overlay along; and its kernel if it is new."""
        (stage / "boot").mkdir(parents=True, exist_ok=True)
        if suffix == f"-{GUEST}":
            shutil.copyfile(kernel.image, stage / f"boot/vmlinuz{suffix}")
        inner = work.path / "guest"
        if self.own.overlay is not None:
            layer.lay(work, self.own.overlay, inner)
        layer.install(work, kernel, inner, self.kernels.tools)
        data = self._initrd(kernel, inner if inner.is_dir() else None, work)
        (stage / f"boot/initrd{suffix}").write_bytes(data)
        shutil.rmtree(inner, ignore_errors=True)

    def _initrd(self, kernel: Kernel, stage: Path | None, work: Work) -> bytes:
        wanted = self.recipe.kernel.initrd_modules
        names = {"root": [*wanted.root, *(LAYERED if stage is not None else ())], "network": wanted.network}
        loaded = {kind: list(kernel.known.in_order(some)) for kind, some in names.items()}
        needed = [*LAYERED, LAYER_FORMAT] if stage is not None else []
        if lacking := kernel.known.lacking(needed):
            raise ConfigError(
                f"kernel {kernel.release} lacks {', '.join(lacking)}, by which files are laid over the image",
                hint="give the modules of this kernel by --modules, or build these in",
            )
        data = initrd.build(
            root=self.kernels.root(), scripts=self.steps.path.parent / self.recipe.initramfs, modules=loaded
        )
        if stage is None:
            return data
        file = work.path / LAYER
        layer.squash(work, stage, file, self.recipe.compression)
        packed = cpio.archive({LAYER: (file.read_bytes(), 0o644)})
        file.unlink()
        return data + packed


def _checked_tree(path: Path) -> bytes:
    data = path.read_bytes()
    if data[:4] != DTB_MAGIC:
        hint = "dtc -O dtb -o FILE.dtb FILE.dts" if b"/dts-v1/" in data[:4096] else "make dtbs"
        raise ConfigError("is no compiled device tree", file=path, hint=hint)
    if len(data) < (size := int.from_bytes(data[4:8], "big")):
        raise ConfigError(f"is cut short: {len(data)} bytes of {size}", file=path)
    return data
