"""What execnet runs first on the board: takes the package's sources from the channel and serves.

This file is sent as source text and executed as ``__channelexec__``. Modules are compiled when they are first
imported, so a start compiles a few of them and not twenty. The board's image has code of the sources of its
day (its zygote offers it as the module ``prepared``): only what differs from those is sent at all.
"""

from __future__ import annotations

import marshal
import sys
from importlib.machinery import ModuleSpec

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType


class Shipped:
    """Finder and loader of modules: full name -> source that came over the wire, or code of the image."""

    def __init__(self, digests: dict[str, str]) -> None:
        """``digests``: full name -> hex SHA-256 of the source as the host has it."""
        self.digests = digests
        self.prepared = getattr(sys.modules.get("prepared"), "modules", {})
        self.sources: dict[str, str] = {}

    def lacking(self) -> list[str]:
        """The modules of which the image has no code, or code of another source."""
        return [name for name, digest in self.digests.items() if self._known(name)[0] != digest]

    def find_spec(self, name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        """Find one of our modules (importlib.abc.MetaPathFinder)."""
        if name not in self.digests:
            return None
        package = any(other.startswith(f"{name}.") for other in self.digests)
        return ModuleSpec(name, self, origin=_path(name), is_package=package)  # type: ignore[arg-type]

    def create_module(self, spec: ModuleSpec) -> None:
        """Leave it to Python (importlib.abc.Loader)."""

    def exec_module(self, module: ModuleType) -> None:
        """Compile, where that is not done, and run one module (importlib.abc.Loader)."""
        name = module.__name__
        if name in self.sources:
            code = compile(self.sources[name], _path(name), "exec", dont_inherit=True)
        else:
            code = marshal.loads(self._known(name)[1])
        exec(code, module.__dict__)

    def _known(self, name: str) -> tuple[str, bytes]:
        """Digest of the source, and code; of a module that the image does not know, neither."""
        found: tuple[str, bytes] = self.prepared.get(_path(name), ("", b""))
        return found


def _path(name: str) -> str:
    return name.replace(".", "/") + ".py"


if __name__ == "__channelexec__":
    channel = globals()["channel"]  # execnet put it there
    shipped = Shipped(channel.receive())
    channel.send(shipped.lacking())
    shipped.sources = channel.receive()
    sys.meta_path.insert(0, shipped)
    from lab.agent.server import serve

    serve(channel)
