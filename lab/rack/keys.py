"""The ssh keys of virtual boards: the client's and the boards' own, made once for each user.

All virtual boards of a user share one host key, so that a board's memory image that was saved
with it (a snapshot) can be used by a later run. The keys open nothing but these boards.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from lab.base import dirs
from lab.base.errors import LabError
from lab.base.proc import require
from lab.rack.layout import LOOPBACK


@dataclass(frozen=True)
class Keys:
    """A folder with two ed25519 key pairs."""

    directory: Path

    @property
    def client(self) -> Path:
        """Private key of the user, for ``ssh -i``."""
        return self.directory / "id_ed25519"

    @property
    def client_public(self) -> Path:
        """Public key of the user: what stands in the board's authorized_keys."""
        return self.directory / "id_ed25519.pub"

    @property
    def host(self) -> Path:
        """Private key of the boards' sshd."""
        return self.directory / "ssh_host_ed25519_key"

    @property
    def host_public(self) -> Path:
        """Public key of the boards' sshd."""
        return self.directory / "ssh_host_ed25519_key.pub"


def of_user() -> Keys:
    """The keys of this user, for every virtual board and for physical ones that boot our images."""
    return keys(dirs.cache() / "keys")


def keys(directory: Path) -> Keys:
    """The keys in ``directory``, made if there are none yet; safe against two callers at once.

    Raises ConfigError where ssh-keygen is missing, LabError where it fails.
    """
    found = Keys(directory)
    if found.host_public.is_file() and found.client.is_file():
        return found
    directory.parent.mkdir(parents=True, exist_ok=True)
    keygen = require("ssh-keygen")
    new = Keys(Path(tempfile.mkdtemp(prefix=f".{directory.name}-", dir=directory.parent)))
    try:
        for path, comment in ((new.client, "sharelab"), (new.host, "sharelab-virtual-board")):
            command = [keygen, "-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", str(path)]
            done = subprocess.run(
                command, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=30
            )
            if done.returncode:
                raise LabError(f"ssh-keygen failed: {done.stderr.strip() or done.stdout.strip()}")
        try:
            new.directory.rename(directory)
        except OSError:
            # Another process was first; or the folder is there without the keys, which is not ours to mend.
            if not found.host_public.is_file():
                raise LabError(f"{directory} is there, but holds no keys", hint="remove the folder") from None
    finally:
        shutil.rmtree(new.directory, ignore_errors=True)
    return found


def known_hosts(found: Keys, ports: Iterable[int]) -> str:
    """Text of a known_hosts file that pins the boards' key for ssh on these loopback ports."""
    kind, key = found.host_public.read_text().split()[:2]
    return "".join(f"[{LOOPBACK}]:{port} {kind} {key}\n" for port in ports)


def boot_files(found: Keys) -> bytes:
    """The per-boot files of a board as a cpio archive to append to its initrd (images/overlay reads /lab)."""
    # Not at the top: a rack that runs already is asked for its state without all that builds images.
    from lab.imaging.cpio import archive

    return archive(
        {
            "lab/authorized_keys": (found.client_public.read_bytes(), 0o600),
            "lab/ssh_host_ed25519_key": (found.host.read_bytes(), 0o600),
            "lab/ssh_host_ed25519_key.pub": (found.host_public.read_bytes(), 0o644),
        }
    )
