"""What execnet runs first on the board: takes the package's sources from the channel and serves.

This file is sent as source text and executed as ``__channelexec__``. Modules are compiled when they are first
imported, so a start compiles a few of them and not twenty.
"""

from __future__ import annotations

import marshal
import sys
from importlib.machinery import ModuleSpec

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType


class Shipped:
    """Finder and loader of modules whose sources came over the wire: full name -> source.

    The board's image has code that was compiled from the sources of its day (its zygote offers it as the
    module ``prepared``). It is used where the source is the same to the letter.
    """

    def __init__(self, sources: dict[str, str]) -> None:
        self.sources = sources
        self.prepared = getattr(sys.modules.get("prepared"), "modules", {})

    def find_spec(self, name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        """Find one of our modules (importlib.abc.MetaPathFinder)."""
        if name not in self.sources:
            return None
        package = any(other.startswith(f"{name}.") for other in self.sources)
        return ModuleSpec(name, self, origin=_path(name), is_package=package)  # type: ignore[arg-type]

    def create_module(self, spec: ModuleSpec) -> None:
        """Leave it to Python (importlib.abc.Loader)."""

    def exec_module(self, module: ModuleType) -> None:
        """Compile and run one module (importlib.abc.Loader)."""
        path, source = _path(module.__name__), self.sources[module.__name__]
        known, packed = self.prepared.get(path, (None, b""))
        code = marshal.loads(packed) if known == source else compile(source, path, "exec", dont_inherit=True)
        exec(code, module.__dict__)


def _path(name: str) -> str:
    return name.replace(".", "/") + ".py"


if __name__ == "__channelexec__":
    channel = globals()["channel"]  # execnet put it there
    sys.meta_path.insert(0, Shipped(channel.receive()))
    from lab.agent.server import serve

    serve(channel)
