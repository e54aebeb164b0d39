"""The exact packages that a recipe means: asked of the mirror's index once, then kept until a rebuild."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

from lab.imaging import kernel, toolchain
from lab.imaging.apt import Apt, Package
from lab.imaging.cache import Cache, Work, digest, digest_file
from lab.imaging.recipe import Recipe

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
    return digest([asked, code("apt", "kernel", "toolchain", "resolve")])


def find_packages(cache: Cache, recipe: Recipe, host: str) -> Packages | None:
    """The packages of the last build of this recipe; None if it was never built."""
    found = cache.find("packages", resolve_key(recipe, host))
    return Packages.load(found.path) if found else None
