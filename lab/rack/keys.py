"""The ssh keys of virtual boards: the client's and the boards' own, made once for each user.

All virtual boards of a user share one host key, so that a board's memory image that was saved
with it (a snapshot) can be used by a later run. The keys open nothing but these boards.
"""

from __future__ import annotations

import base64
import shutil
import struct
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
                command, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=30, check=False
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
            "lab/ssh_host_key": (dropbear_key(found.host.read_text()), 0o600),
        }
    )


def dropbear_key(openssh: str) -> bytes:
    """An ed25519 private key without a passphrase, from OpenSSH's form to dropbear's.

    OpenSSH: PROTOCOL.key, sshkey.c (sshkey_private_serialize_opt); dropbear: src/ed25519.c
    (buf_put_ed25519_priv_key). Both have the seed and the public key in one string of 64 bytes. Here, because
    dropbearconvert takes an emulated board a seventh of a second. Raises LabError for any other key.
    """
    body = base64.b64decode("".join(line for line in openssh.splitlines() if not line.startswith("-")))
    kind = _string(b"ssh-ed25519")
    head = b"openssh-key-v1\0" + _string(b"none") * 2 + _string(b"") + struct.pack(">I", 1)
    _public, private = _strings(body.removeprefix(head))
    check = private[:4] * 2  # a number, twice
    if not (body.startswith(head) and private.startswith(check + kind)):
        raise LabError(
            "the boards' ssh key is none that ssh-keygen made for them",
            hint=f"remove {dirs.cache() / 'keys'}",
        )
    _public, pair = _strings(private.removeprefix(check + kind))[:2]
    return kind + _string(pair)


def _string(data: bytes) -> bytes:
    """A string as ssh writes it: its length in four bytes, then itself (RFC 4251, section 5)."""
    return struct.pack(">I", len(data)) + data


def _strings(data: bytes) -> list[bytes]:
    """The strings that ``data`` is made of; what is cut off at its end is cut off in the last of them."""
    found = []
    while len(data) >= 4:
        end = 4 + struct.unpack_from(">I", data)[0]
        found.append(data[4:end])
        data = data[end:]
    return found
