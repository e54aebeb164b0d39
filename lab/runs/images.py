"""The image that a target's boards boot, with what the user has put in the place of its parts."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from lab.base.errors import ConfigError
from lab.imaging import Image, build, find

if TYPE_CHECKING:
    from lab.boards import Target
    from lab.imaging.own.given import Own


def find_image(target: Target, own: Own | None = None) -> Image | None:
    """The target's image if it is in the cache; parts of one's own are put in, which takes seconds.

    Raises ConfigError for the recipe, for parts that cannot be used, and for a kernel without the modules
    that the target's boards load.
    """
    image = find(target.image)
    return None if image is None else _with(image, target, own)


def build_image(target: Target, own: Own | None = None) -> Image:
    """The target's image, built where it is not there. Raises what `find_image` does, and LabError."""
    if own and find(target.image) is None:
        from lab.imaging.own.derive import examine

        examine(own)  # before minutes of building
    return _with(build(target.image), target, own)


def _with(image: Image, target: Target, own: Own | None) -> Image:
    if not own:
        return image
    from lab.imaging.own.buildtree import build_folder
    from lab.imaging.own.derive import derive  # takes a while to import, and few runs need it

    network = target.boot.root == "http"
    virtual = target.virtual is not None
    base, image = image, derive(image, target.image, own, network=network)
    lacking = image.lacking(target.modules, virtual=virtual)
    if lacking and own.kernel and not own.headers and (folder := build_folder(own.kernel)):
        image = derive(base, target.image, replace(own, headers=folder), network=network)
        lacking = image.lacking(target.modules, virtual=virtual)
    if lacking:
        raise ConfigError(
            f"kernel {image.manifest['kernel']} lacks {', '.join(lacking)}, which {target.name} needs",
            hint="give its modules by --modules; our own are built with --headers BUILD-FOLDER",
        )
    if "vmm" in image.own and target.vmm is None:
        raise ConfigError(f"{target.name} runs no virtual machine", hint="--vmm is for those that do")
    return image
