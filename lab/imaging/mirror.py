"""Which Debian mirror to use. No mirror is written down in the project.

In this order: a setting (``--mirror`` or the environment variable SHARELAB_MIRROR), the machine's own
apt configuration where it names a Debian mirror, mmdebstrap's built-in default.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import tempfile
from pathlib import Path

from lab.base.errors import ConfigError

SETTING = "SHARELAB_MIRROR"
SCHEMES = re.compile(r"^(?:(?:https?|ftp)://|file:/|mirror\+\w+:/)\S+$")
FIELDS = "$(ORIGIN)|$(LABEL)|$(RELEASE)|$(CODENAME)|$(REPO_URI)"


def choose(setting: str | None = None) -> str:
    """The base address of a Debian mirror, with a slash at its end.

    Raises ConfigError where the setting is no address, or nothing on this machine names a mirror.
    """
    asked = setting or os.environ.get(SETTING)
    if asked:
        if not SCHEMES.match(asked):
            raise ConfigError(
                f"'{asked}' is not a mirror address", hint=f"--mirror or {SETTING}=http://HOST/debian"
            )
        return asked.rstrip("/") + "/"
    found = from_targets(_index_targets(), _os_release()) or _mmdebstrap_default()
    if not found:
        raise ConfigError(
            "no Debian mirror is known on this machine",
            hint=f"set {SETTING}=http://HOST/debian, or apt-get install mmdebstrap (it knows a default)",
        )
    return found


def from_targets(targets: str, os_release: dict[str, str]) -> str | None:
    """The mirror in the output of ``apt-get indextargets`` (lines of FIELDS); None: no Debian mirror.

    apt knows origin and label only after an ``apt-get update``; before it, on Debian, the line of the
    running release counts. Security and backports archives are not whole mirrors.
    """
    bare = None
    for line in targets.splitlines():
        origin, label, release, codename, uri = (line.split("|") + [""] * 5)[:5]
        if not SCHEMES.match(uri):
            continue
        if (origin, label) == ("Debian", "Debian"):
            return uri.rstrip("/") + "/"
        own = os_release.get("ID") == "debian" and os_release.get("VERSION_CODENAME") in (release, codename)
        if own and not origin and bare is None:
            bare = uri.rstrip("/") + "/"
    return bare


def _index_targets() -> str:
    apt = shutil.which("apt-get")
    if apt is None:
        return ""
    argv = [apt, "indextargets", "--format", FIELDS]
    return subprocess.run(argv, capture_output=True, text=True, errors="replace", check=False).stdout


def _os_release() -> dict[str, str]:
    try:
        lines = Path("/etc/os-release").read_text(encoding="utf-8").splitlines()
    except OSError:
        return {}
    pairs = (line.partition("=") for line in lines if "=" in line)
    return {name: value.strip('"') for name, _, value in pairs}


def _mmdebstrap_default() -> str | None:
    """What mmdebstrap would write into a stable system's sources.list, without installing anything."""
    program = shutil.which("mmdebstrap")
    if program is None:
        return None
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "sources"
        written = '"$1"/etc/apt/sources.list "$1"/etc/apt/sources.list.d/*'
        hook = f"cat {written} > {shlex.quote(str(copy))} 2>/dev/null; exit 1"
        argv = [program, "--variant=custom", "--mode=chrootless", "--setup-hook", hook]
        argv += ["stable", str(Path(folder) / "none.tar")]
        subprocess.run(argv, capture_output=True, check=False)
        text = copy.read_text(encoding="utf-8") if copy.exists() else ""
    return from_sources(text)


def from_sources(text: str) -> str | None:
    """The mirror of the first line of a ``sources.list``."""
    for line in text.splitlines():
        words = [word for word in re.sub(r"\[[^]]*\]", "", line).split() if word]
        if len(words) >= 3 and words[0] == "deb" and SCHEMES.match(words[1]):
            return words[1].rstrip("/") + "/"
    return None
