"""Programs of the system: found, or named together with the package that has them."""

from __future__ import annotations

import ctypes
import shutil
import signal

from lab.base.errors import ConfigError

PACKAGES = {
    "qemu-system-aarch64": "qemu-system-arm",
    "mmdebstrap": "mmdebstrap",
    "sqfstar": "squashfs-tools",
    "mksquashfs": "squashfs-tools",
    "unsquashfs": "squashfs-tools",
    "cpio": "cpio",
    "dpkg-deb": "dpkg",
    "apt-get": "apt",
    "ssh": "openssh-client",
    "ssh-keygen": "openssh-client",
    "unshare": "util-linux",
    "mkimage": "u-boot-tools",
}
"""Program -> the Debian and Ubuntu package that has it."""


def require(program: str) -> str:
    """The path of ``program``. Raises ConfigError that names the package where it is missing."""
    path = shutil.which(program)
    if path is None:
        package = PACKAGES.get(program, program)
        raise ConfigError(f"program '{program}' is missing", hint=f"apt-get install {package}")
    return path


PR_SET_PDEATHSIG = 1
# Looked up here: dlopen(3) takes a lock, which another thread may have in the moment of a fork.
_prctl = ctypes.CDLL(None).prctl


def die_with_parent() -> None:
    """For ``preexec_fn``: the kernel kills this process when the thread that started it ends (prctl(2))."""
    _prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
