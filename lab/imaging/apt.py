"""Debian packages by apt alone: which ones, from where, and into the cache by their hash.

This is what ``mmdebstrap --variant=extract`` does inside, with a private apt configuration. Done
directly it needs no user namespace and no fakechroot, so it is the same on every machine and for every
user; one look at the archive's index serves root file system, cross compiler and kernel sources, so
their versions fit; and a package is downloaded once, whatever image it goes into.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

from lab.base import proc
from lab.base.errors import ConfigError, LabError
from lab.imaging.cache import Cache, Work, digest, digest_file

KEYRINGS = tuple(
    Path("/usr/share/keyrings") / name
    for name in ("debian-archive-keyring.gpg", "debian-archive-keyring.pgp")
)
HELPERS = (Path("/usr/lib/apt/apt-helper"), Path("/usr/libexec/apt/apt-helper"))


@dataclass(frozen=True)
class Package:
    """One package file of the archive."""

    name: str
    version: str
    architecture: str
    path: str
    """Below the mirror's base address, percent-encoded as apt gives it."""
    size: int
    """In bytes."""
    sha256: str


def keyring() -> Path:
    """The keys that sign Debian's archive. Raises ConfigError that names the package with them."""
    for path in KEYRINGS:
        if path.is_file():
            return path
    raise ConfigError("Debian's archive keys are missing", hint="apt-get install debian-archive-keyring")


class Apt:
    """A private apt below ``work.path``: suites of one mirror, an empty system to install into.

    Packages come from the first suite unless a call prefers another one for some of them.

    Of the machine's own apt configuration it takes what concerns the network (proxy, retries, checks of
    dates), and no hooks.
    """

    def __init__(self, work: Work, mirror: str, suites: Sequence[str], architectures: Sequence[str]) -> None:
        self.mirror = mirror
        self._work = work
        self._suites = suites
        self._folder = folder = work.path / "apt"
        self._program = proc.require("apt-get")
        self._network = _network_settings(work)
        for name in ("etc/apt.conf.d", "etc/preferences.d", "etc/sources.list.d", "etc/trusted.gpg.d"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        for name in ("state/lists/partial", "log"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        (folder / "state/status").touch()
        (folder / "etc/sources.list.d/debian.sources").write_text(
            f"Types: deb\nURIs: {mirror}\nSuites: {' '.join(suites)}\nComponents: main\n"
            f"Architectures: {' '.join(architectures)}\nSigned-By: {keyring()}\n"
        )
        self._architectures = tuple(architectures)

    def update(self) -> None:
        """Fetch the suites' indexes. Raises LabError where the mirror does not give one."""
        environment = self._environment(self._architectures[0], self._architectures)
        argv = [self._program, "update", "--error-on=any"]
        try:
            self._work.run(argv, env=environment, what="fetching the package index")
        except LabError as error:
            raise LabError(
                f"mirror {self.mirror} does not give suite '{' '.join(self._suites)}' ({error.message})",
                hint="check the network, or set SHARELAB_MIRROR=http://HOST/debian to another mirror",
            ) from None

    def resolve(
        self, names: Iterable[str], architecture: str, *, prefer: tuple[str, Sequence[str]] | None = None
    ) -> list[Package]:
        """The packages with all they depend on, for one architecture, as an empty system needs them.

        ``prefer``: a suite, and the packages (wildcards allowed) that come from it.
        Raises ConfigError where a package does not exist or cannot be installed.
        """
        command = ["install", "--yes"]
        if prefer is not None:
            suite, wanted = prefer
            file = self._folder / f"prefer-{digest([suite, *wanted])[:16]}"
            file.write_text(f"Package: {' '.join(wanted)}\nPin: release n={suite}\nPin-Priority: 990\n")
            command += ["-o", f"Dir::Etc::preferences={file}"]
        return self._named(command, names, architecture)

    def single(self, names: Iterable[str], architecture: str) -> list[Package]:
        """Just these packages, without what they depend on; a name may be ``NAME=VERSION``."""
        return self._named(["download"], names, architecture)

    def _named(self, command: Sequence[str], names: Iterable[str], architecture: str) -> list[Package]:
        environment = self._environment(architecture, (architecture,))
        argv = [self._program, *command, "--print-uris", *names]
        try:
            output = self._work.run(argv, env=environment, what=f"resolving packages for {architecture}")
        except LabError as error:
            raise ConfigError(error.message, hint="check the recipe's package names") from None
        packages = parse_uris(output, self.mirror)
        if not packages:
            raise LabError(f"apt names no packages for {architecture}: {output[-300:]}")
        return packages

    def _environment(self, architecture: str, architectures: Sequence[str]) -> dict[str, str]:
        folder = self._folder
        config = folder / f"{architecture}-{len(architectures)}.conf"
        names = " ".join(f'"{name}";' for name in architectures)
        (folder / f"cache-{architecture}/archives/partial").mkdir(parents=True, exist_ok=True)
        config.write_text(
            self._network + f'Dir "{folder}/";\nDir::Etc "{folder}/etc/";\nDir::State "{folder}/state/";\n'
            f'Dir::State::status "{folder}/state/status";\nDir::Log "{folder}/log/";\n'
            f'Dir::Cache "{folder}/cache-{architecture}/";\n'
            f'APT::Architecture "{architecture}";\nAPT::Architectures {{ {names} }};\n'
            'APT::Install-Recommends "false";\nAcquire::Languages "none";\nDebug::NoLocking "true";\n'
            'APT::Sandbox::User "root";\nAcquire::ForceHash "SHA256";\n'
        )
        return {**os.environ, "APT_CONFIG": str(config), "LC_ALL": "C"}


def _network_settings(work: Work) -> str:
    """The machine's ``Acquire::`` settings and its credentials for mirrors, as configuration text."""
    wanted = re.compile(r'Acquire::(?!IndexTargets|Languages|ForceHash|Changelogs)\S+ ".+";')
    dump = work.run(["apt-config", "dump"], what="apt-config").splitlines()
    lines = [line for line in dump if wanted.fullmatch(line)]
    for key, path in (("netrc", "/etc/apt/auth.conf"), ("netrcparts", "/etc/apt/auth.conf.d")):
        if os.access(path, os.R_OK):
            lines.append(f'Dir::Etc::{key} "{path}";')
    return "".join(f"{line}\n" for line in lines)


def parse_uris(output: str, mirror: str) -> list[Package]:
    """The packages that ``apt-get --print-uris`` names: lines ``'URI' FILE SIZE SHA256:HASH``."""
    packages = []
    pattern = r"^'(\S+)' (\S+)_(\S+)_(\S+)\.deb (\d+) SHA256:([0-9a-f]{64})$"
    for uri, name, version, architecture, size, sha256 in re.findall(pattern, output, re.MULTILINE):
        path = uri.removeprefix(mirror)
        packages.append(Package(name, unquote(version), architecture, path, int(size), sha256))
    return packages


def stored(cache: Cache, package: Package) -> Path:
    """Where the package's file lies in the cache, once it is there."""
    return cache.root / "debs" / f"{package.sha256}.deb"


def download(cache: Cache, packages: Sequence[Package], mirror: Callable[[], str]) -> list[Path]:
    """The package files in the order of ``packages``; those not in the cache come from the mirror.

    Raises LabError where a file cannot be had, or is not the one that the signed index names.
    """
    missing = [package for package in packages if not stored(cache, package).exists()]
    if missing:
        helper = next((path for path in HELPERS if path.exists()), None)
        if helper is None:
            raise ConfigError("apt-helper is missing", hint="apt-get install apt")
        with cache.work() as work:
            _fetch(work, helper, missing, mirror())
            for package in missing:
                file = work.path / f"{package.sha256}.deb"
                if digest_file(file) != package.sha256:
                    raise LabError(f"package {package.name} came damaged", hint="try again")
                file.rename(stored(cache, package))
    for package in packages:
        os.utime(stored(cache, package))
    return [stored(cache, package) for package in packages]


def _fetch(work: Work, helper: Path, packages: Sequence[Package], mirror: str) -> None:
    config = work.path / "apt.conf"
    config.write_text(_network_settings(work) + 'APT::Sandbox::User "root";\n')
    argv: list[str | Path] = [helper, "download-file"]
    for package in packages:
        target = work.path / f"{package.sha256}.deb"
        argv += [mirror + package.path, target, f"SHA256:{package.sha256}"]
    environment = {**os.environ, "APT_CONFIG": str(config), "LC_ALL": "C"}
    try:
        work.run(argv, env=environment, what="downloading packages")
    except LabError as error:
        raise LabError(
            error.message,
            hint=f"is the mirror {mirror} reachable? Its index may have changed: lab images build --rebuild",
        ) from None


def unpack(work: Work, debs: Sequence[Path], target: Path, drop: Sequence[str] = ()) -> None:
    """Unpack package files into ``target`` (no maintainer script runs), without what ``drop`` names.

    ``drop``: paths or wildcards relative to the root, as GNU tar's --exclude takes them.
    """
    deb = proc.require("dpkg-deb")
    target.mkdir(exist_ok=True)
    for name in ("bin", "lib", "lib64", "sbin"):
        (target / "usr" / name).mkdir(parents=True, exist_ok=True)
        if not (target / name).is_symlink():
            (target / name).symlink_to(f"usr/{name}")
    excludes = target.parent / f"{target.name}.drop"
    excludes.write_text("".join(f"./{pattern}\n" for pattern in drop))
    tar = f'tar -x --keep-directory-symlink --no-same-owner -X "{excludes}" -C "{target}"'
    script = f'set -e; for deb; do "{deb}" --fsys-tarfile "$deb" | {tar}; done'
    halves = [debs[0::2], debs[1::2]]
    with ThreadPoolExecutor(2) as pool:
        argv = ["sh", "-c", script, "unpack"]
        for _ in pool.map(lambda half: work.run([*argv, *half], what="unpacking packages"), halves):
            pass
    excludes.unlink()
