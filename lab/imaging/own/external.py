"""The recipe's own modules (virtual decoder, heaps) for a kernel that somebody else has built."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from lab.base.errors import ConfigError, LabError
from lab.imaging import toolchain
from lab.imaging.cache import Work, digest, digest_file, digest_tree
from lab.imaging.kernels import OBJECTS
from lab.imaging.modules import plain_name
from lab.imaging.own.buildtree import release_of
from lab.imaging.plan import Keys
from lab.imaging.recipe import ModuleSource, Recipe
from lab.imaging.resolve import code
from lab.imaging.steps import Steps

TELLING = (".config", "Module.symvers", "include/generated/autoconf.h", "include/config/kernel.release")
"""Files of a build folder that a module's code and versions follow from."""


def names_of(recipe: Recipe, folder: Path) -> frozenset[str]:
    """The modules that a recipe's sources are built into, as the kernel names them."""
    texts = [(folder / module.source / "Kbuild").read_text(encoding="utf-8") for module in recipe.modules]
    return frozenset(
        plain_name(word) for text in texts for line in OBJECTS.findall(text) for word in line.split()
    )


def headers_digest(headers: Path) -> str:
    """What of a build folder makes a difference to modules."""
    found = {name: digest_file(headers / name) for name in TELLING if (headers / name).is_file()}
    return digest([found, str(headers)])


def build(
    steps: Steps,
    keys: Keys,
    module: ModuleSource,
    headers: Path,
    release: str,
    tree: Path,
    sources: Path | None,
) -> Path:
    """The folder with the ``.ko`` files of one of the recipe's sources, built for the kernel ``release``.

    Raises ConfigError where ``headers`` are another kernel's, LabError with the compiler's words where the
    build fails.
    """
    if (theirs := release_of(headers)) != release:
        raise ConfigError(
            f"is for kernel {theirs}, the kernel given is {release}", file=headers, hint="--headers"
        )
    folder = keys.folder / module.source
    asked = [module.model_dump(exclude={"kernels"}), release, headers_digest(headers), digest_tree(folder)]
    key = digest([asked, keys.tools, keys.sources, code("toolchain"), digest_file(Path(__file__))])

    def make(work: Work) -> None:
        copy = work.path / "build" / Path(module.source).name
        shutil.copytree(folder, copy)
        for name in module.kernel_sources:
            file = copy / Path(name).name
            if sources is not None and not file.exists():
                shutil.copyfile(sources / name, file)
        prefix = toolchain.PREFIX
        environment = {**toolchain.environment(tree), "ARCH": "arm64", "CROSS_COMPILE": prefix}
        argv: list[str | Path] = [tree / "usr/bin/make", "-s", f"-j{os.cpu_count() or 1}", "-C", headers]
        argv += [f"M={copy}", "CONFIG_DEBUG_INFO_BTF_MODULES=", "modules"]
        what = f"building {Path(module.source).name} for kernel {release}"
        try:
            work.run(argv, env=environment, what=what)
        except LabError as error:
            raise LabError(
                error.message,
                hint=f"{headers} must be a whole build folder (Module.symvers) with scripts that run here",
            ) from None
        for built in sorted(copy.rglob("*.ko")):
            work.run(
                [tree / "usr/bin" / f"{prefix}strip", "--strip-debug", built], env=environment, what="strip"
            )
            built.rename(work.path / built.name)
        shutil.rmtree(work.path / "build")

    return steps.step(f"{Path(module.source).name}-own", key, make, kind="module")
