"""The exact packages that a recipe means: asked of the mirror's index once, then kept until a rebuild."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from lab.base.errors import LabError, SharelabError
from lab.imaging import kernel, toolchain
from lab.imaging.apt import Apt, Package
from lab.imaging.cache import Cache, Work, digest, digest_file
from lab.imaging.recipe import ExtraKernel, ExtraRoot, Recipe

LOCK = "packages.json"


def code(*modules: str) -> dict[str, str]:
    """Hashes of modules of this package."""
    return {name: digest_file(Path(__file__).with_name(f"{name}.py")) for name in modules}


@dataclass(frozen=True)
class KernelPackages:
    """A kernel beside the board's."""

    release: str
    image: list[Package]
    """The kernel itself and its modules."""
    headers: list[Package]


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
    kernels: dict[str, KernelPackages] = field(default_factory=dict)
    """Of the recipe's ``extra_kernels`` those that the mirror has."""
    roots: dict[str, list[Package]] = field(default_factory=dict)
    """Prefix -> packages, of the recipe's ``extra_roots`` those that the mirror has."""
    missing: dict[str, str] = field(default_factory=dict)
    """Name or prefix of the others -> why."""

    def save(self, folder: Path) -> None:
        """Write them down."""
        (folder / LOCK).write_text(json.dumps(asdict(self), indent=1))

    @classmethod
    def load(cls, folder: Path) -> Packages:
        """Read what ``save`` wrote."""
        data = json.loads((folder / LOCK).read_text())
        kernels = {
            name: KernelPackages(item["release"], _read(item["image"]), _read(item["headers"]))
            for name, item in data.pop("kernels").items()
        }
        roots = {prefix: _read(items) for prefix, items in data.pop("roots").items()}
        release, missing = data.pop("release"), data.pop("missing")
        lists = {name: _read(items) for name, items in data.items()}
        return cls(release, missing=missing, kernels=kernels, roots=roots, **lists)

    def downloads(self) -> list[Package]:
        """All that stays in the cache: everything but the kernel's source."""
        extra = [package for packages in self.roots.values() for package in packages]
        for one in self.kernels.values():
            extra += one.image + one.headers
        return self.root + self.tools + self.headers + self.uboot + extra


def _read(items: list[dict[str, Any]]) -> list[Package]:
    return [Package(**item) for item in items]


def resolve(work: Work, recipe: Recipe, host: str, mirror: str) -> Packages:
    """Ask the mirror's index which packages the recipe means today.

    Raises LabError or ConfigError where the recipe's own suite does not give them; what an extra suite
    does not give ends in ``missing``.
    """
    target = recipe.architecture
    apt, unreachable = _open(work, recipe, host, mirror)
    root = apt.resolve(recipe.all_packages(), target)
    kernels: dict[str, KernelPackages] = {}
    roots: dict[str, list[Package]] = {}
    missing: dict[str, str] = {}
    for wanted in recipe.extra_kernels:
        try:
            kernels[wanted.name] = _extra_kernel(apt, wanted, target, root)
        except SharelabError as error:
            missing[wanted.name] = unreachable.get(wanted.suite, error.message)
    for beside in recipe.extra_roots:
        try:
            roots[beside.prefix] = _extra_root(apt, beside, target, root)
        except SharelabError as error:
            missing[beside.prefix] = unreachable.get(beside.suite, error.message)
    release = kernel.version(root)
    releases = [release, *(one.release for one in kernels.values())]
    kbuild = [kernel.header_packages(one)[2] for one in releases]
    with ThreadPoolExecutor(2) as pool:
        tools = pool.submit(apt.resolve, [*toolchain.packages(host, recipe.kernel.compiler), *kbuild], host)
        header_files = apt.single(kernel.header_packages(release)[:2], target)
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
            kernels=kernels,
            roots=roots,
            missing=missing,
        )


def _open(work: Work, recipe: Recipe, host: str, mirror: str) -> tuple[Apt, dict[str, str]]:
    """An apt with its index, and the suites that the image must do without -> why."""
    architectures = sorted({recipe.architecture, host})
    extra = recipe.extra_suites()
    try:
        apt = Apt(work, mirror, [recipe.suite, *extra], architectures)
        apt.update()
        return apt, {}
    except SharelabError as error:
        if not extra:
            raise
        reason = error.message
    apt = Apt(work, mirror, [recipe.suite], architectures)
    apt.update()
    return apt, dict.fromkeys(extra, reason)


def _extra_kernel(apt: Apt, extra: ExtraKernel, target: str, root: list[Package]) -> KernelPackages:
    found = apt.resolve([extra.package], target, prefer=(extra.suite, [extra.package, "linux-*"]))
    release = kernel.version(found)
    if release == kernel.version(root):
        raise LabError(f"{extra.suite} has no {extra.package}")
    image = [package for package in found if package.name.endswith(f"-{release}")]
    return KernelPackages(release, image, apt.single(kernel.header_packages(release)[:2], target))


def _extra_root(apt: Apt, extra: ExtraRoot, target: str, root: list[Package]) -> list[Package]:
    found = apt.resolve(extra.packages, target, prefer=(extra.suite, extra.packages))
    there = {package.sha256 for package in root}
    own = [package for package in found if package.sha256 not in there]
    if not {package.name for package in own}.issuperset(extra.packages):
        raise LabError(f"{extra.suite} has no other {', '.join(extra.packages)} than the image")
    return own


def resolve_key(recipe: Recipe, host: str) -> str:
    """The key of the list of packages. The mirror is no part of it: all mirrors give the same files."""
    asked = [recipe.suite, recipe.architecture, recipe.all_packages(), recipe.uboot.package]
    asked += [recipe.kernel.source, recipe.kernel.compiler, recipe.kernel.package, host]
    kernels = [[extra.name, extra.suite, extra.package] for extra in recipe.extra_kernels]
    roots = [[extra.prefix, extra.suite, extra.packages] for extra in recipe.extra_roots]
    return digest([asked, kernels, roots, code("apt", "kernel", "toolchain", "resolve")])


def find_packages(cache: Cache, recipe: Recipe, host: str) -> Packages | None:
    """The packages of the last build of this recipe; None if it was never built."""
    found = cache.find("packages", resolve_key(recipe, host))
    return Packages.load(found.path) if found else None
