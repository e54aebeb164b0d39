"""Which VMM ran, in which version: so that results of two VMMs can be told apart and compared."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from lab.boards.vmm import Vmm

_NAMES = {"qemu": "QEMU", "crosvm": "crosvm"}
_PACKAGE = "qemu-system-arm"
_ROOTS = {"qemu-11": "opt/qemu-11"}  # `Vmm.binary` -> where the image has its packages
_UPSTREAM = re.compile(r"(?:\d+:)?(\d[\d.]*)")


def version(vmm: Vmm, manifest: Mapping[str, Any]) -> str:
    """``QEMU 10.0.13``, by the packages of the board's image; without a number for a program of its own.

    ``manifest``: of the image (`lab.imaging.Image`).
    """
    name = _NAMES.get(vmm.kind, vmm.kind)
    if vmm.kind != "qemu" or vmm.binary not in ("", *_ROOTS):
        return f"{name} {vmm.binary}".rstrip()
    roots = manifest.get("roots", {})
    packages = roots.get(_ROOTS[vmm.binary], {}) if vmm.binary else manifest.get("packages", {})
    found = _UPSTREAM.match(packages.get(_PACKAGE, ""))
    return f"{name} {found.group(1)}" if found else name
