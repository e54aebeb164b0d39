"""What a user wants in the place of an image's parts."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Self

from lab.base.errors import ConfigError

VMMS = ("qemu", "crosvm")
"""VMMs that can be one's own, and the fields of `Own` with what is given for each: ``--vmm qemu=PATH``."""

VMM_FOLDER = "/opt/own-vmm"
"""Where on the board it lies: its program, and its ``lib``, ``modules`` and ``share``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Own:
    """Files from a build of one's own; whatever is not given stays as the image has it.

    ``kernel`` of the board, ``guest_kernel`` of the virtual machine on it: an ``Image`` or ``vmlinuz`` of
    arm64, a package or archive that has one, or a kernel's build folder. ``modules``: folders, archives or
    packages with modules; each kernel takes those of its own release. ``headers``: the folder that modules
    for the kernel are built against. ``dtb``: the device tree that the board gets. ``cmdline``: words behind
    the target's kernel command line. ``overlay``: a folder whose files are laid over the root file system.
    ``qemu`` or ``crosvm``: the VMM that the board runs; its program, and folders, archives or packages with
    what belongs to it.
    """

    kernel: Path | None = None
    guest_kernel: Path | None = None
    modules: tuple[Path, ...] = ()
    headers: Path | None = None
    dtb: Path | None = None
    cmdline: str = ""
    overlay: Path | None = None
    qemu: tuple[Path, ...] = ()
    crosvm: tuple[Path, ...] = ()

    @property
    def vmm(self) -> tuple[str, tuple[Path, ...]] | None:
        """Kind and files of the VMM; None: the image's."""
        return next(((kind, given) for kind in VMMS if (given := getattr(self, kind))), None)

    @property
    def settings(self) -> list[str]:
        """What of it changes a target's ``vmm:`` section, as ``KEY=VALUE``."""
        kernel = ["kernel=own"] if self.guest_kernel else []
        return kernel + ([f"kind={self.vmm[0]}", "binary=own"] if self.vmm else [])

    def __bool__(self) -> bool:
        return any(getattr(self, field.name) for field in fields(self))

    def plain(self) -> dict[str, Any]:
        """As plain data, for `from_plain` in another process; paths are absolute."""
        return {
            name: [str(path.absolute()) for path in value]
            if isinstance(value, tuple)
            else str(value.absolute() if isinstance(value, Path) else value)
            for name, value in self._given()
        }

    @classmethod
    def from_plain(cls, data: dict[str, Any]) -> Self:
        """What `plain` gave."""
        found: dict[str, Any] = {}
        for name, value in data.items():
            if isinstance(value, list):
                found[name] = tuple(Path(one).expanduser() for one in value)
            else:
                found[name] = value if name == "cmdline" else Path(value)
        return cls(**found)

    @classmethod
    def from_words(cls, words: Sequence[str]) -> Self:
        """Of ``OPTION=VALUE`` words. Raises ConfigError for an option that there is not."""
        data: dict[str, Any] = {}
        known = [field.name.replace("_", "-") for field in fields(cls)]
        for word in words:
            name, equals, value = word.partition("=")
            if not equals or name not in known:
                raise ConfigError(f"'{word}': not OPTION=VALUE", hint=f"options: {', '.join(known)}")
            if name in LISTS:
                data.setdefault(name, []).append(value)
            else:
                data[name.replace("-", "_")] = value
        return cls.from_plain(data)

    @classmethod
    def vmm_words(cls, words: Sequence[str]) -> tuple[list[str], dict[str, tuple[Path, ...]]]:
        """Of the words of ``--vmm`` those that are settings, and as fields the ``qemu=`` and ``crosvm=``."""
        others = [word for word in words if word.partition("=")[0] not in VMMS]
        given = cls.from_words([word for word in words if word not in others])
        return others, {kind: getattr(given, kind) for kind in VMMS}

    def options(self) -> list[str]:
        """The options of ``lab run`` that mean this."""
        words: list[str] = []
        for name, value in self._given():
            for one in value if isinstance(value, tuple) else (value,):
                words += [_option(name), f"{name}={one}" if name in VMMS else str(one)]
        return words

    def check(self) -> Self:
        """Raise ConfigError for files that are not there, and for what does not fit together."""
        for name, value in self._given():
            for path in value if isinstance(value, tuple) else (value,):
                if isinstance(path, Path) and not path.exists():
                    raise ConfigError("no such file or folder", file=path, hint=_option(name))
        if (self.modules or self.headers) and not (self.kernel or self.guest_kernel):
            raise ConfigError("--modules and --headers are for a kernel", hint="give it by --kernel")
        if self.qemu and self.crosvm:
            raise ConfigError("--vmm qemu= and --vmm crosvm=: a board runs one of them")
        if self.overlay is not None and not self.overlay.is_dir():
            raise ConfigError("not a folder", file=self.overlay, hint="--overlay takes a folder of files")
        if self.dtb is not None and not self.dtb.is_file():
            raise ConfigError("not a file", file=self.dtb, hint="--dtb takes a compiled device tree")
        if self.headers is not None and not self.headers.is_dir():
            raise ConfigError(
                "not a folder", file=self.headers, hint="--headers takes a kernel's build folder"
            )
        if any(character in "'\"" or not character.isprintable() for character in self.cmdline):
            raise ConfigError(
                f"--cmdline {shlex.quote(self.cmdline)}: U-Boot takes no quotes and no line ends"
            )
        return self

    def _given(self) -> list[tuple[str, Any]]:
        return [(field.name, value) for field in fields(self) if (value := getattr(self, field.name))]


LISTS = frozenset(field.name for field in fields(Own) if field.default == ())
"""Fields that may be given more than once."""


def _option(name: str) -> str:
    """The option of ``lab run`` that a field is given by."""
    return "--vmm" if name in VMMS else f"--{name.replace('_', '-')}"
