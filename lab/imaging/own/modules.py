"""What a kernel can load: which modules it has, built in or as files, and what each depends on."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from lab.imaging.modules import needs, plain_name
from lab.imaging.own.unpack import module_files, read_module


@dataclass(frozen=True)
class Known:
    """Names as the kernel has them. ``builtin`` is None where no list of them came with the kernel."""

    files: dict[str, Path] = field(default_factory=dict)
    builtin: frozenset[str] | None = None
    ours: frozenset[str] = frozenset()
    """Modules that no kernel has: the image's recipe builds them."""

    @classmethod
    def of(cls, modules: Path | None, built: Iterable[Path], *, ours: frozenset[str]) -> Self:
        """Of the folder of a kernel's modules, and files that were built for it."""
        files = {} if modules is None else {plain_name(path.name): path for path in module_files(modules)}
        files |= {plain_name(path.name): path for path in built}
        listed = None if modules is None else modules / "modules.builtin"
        if listed is None or not listed.is_file():
            return cls(files, None, ours)
        names = listed.read_text(encoding="utf-8", errors="replace").splitlines()
        return cls(files, frozenset(plain_name(Path(line).name) for line in names), ours)

    def has(self, name: str) -> bool:
        """Whether it has the module; where that cannot be known it is believed."""
        name = plain_name(name)
        if name in self.files:
            return True
        return name in self.builtin if self.builtin is not None else name not in self.ours

    def lacking(self, names: Iterable[str]) -> list[str]:
        """Those that it has not."""
        return sorted(name for name in names if not self.has(name))

    def in_order(self, names: Iterable[str]) -> Iterator[tuple[str, bytes]]:
        """Name and plain content of the modules and of what they depend on, each behind what it needs."""
        done: set[str] = set()

        def load(name: str) -> Iterator[tuple[str, bytes]]:
            name = plain_name(name)
            if name in done or name not in self.files:
                return
            done.add(name)
            data = read_module(self.files[name])
            for other in needs(data):
                yield from load(other)
            yield name, data

        for name in names:
            yield from load(name)

    def plain(self) -> dict[str, Any]:
        """For `Image.lacking`."""
        names = None if self.builtin is None else sorted({*self.files, *self.builtin})
        return {"names": names, "ours": sorted(self.ours - set(self.files))}
