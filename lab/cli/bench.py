"""The board that a command asks without running suites on it: the user's own, or a virtual one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from lab.base.errors import ConfigError

if TYPE_CHECKING:
    from lab.boards import Target
    from lab.boards.bringup import Bench


@contextmanager
def bench_of(name: str, coordinator: str | None) -> Iterator[Bench]:
    """The board called ``name``: leased, or virtual and in a rack of its own for the time of the command."""
    from lab.boards import load_target
    from lab.boards.bringup import Bench
    from lab.boards.target import names
    from lab.cli.own_board import OwnBoard, has_lease
    from lab.imaging import build

    with ExitStack() as stack:
        if has_lease(name, coordinator):
            own = stack.enter_context(OwnBoard(name, coordinator))
            image = build(own.target.image)
            yield stack.enter_context(Bench(own.environment(image), own.target, name=own.name))
            return
        if name not in names() and not Path(name).exists():
            raise ConfigError(
                f"you hold no board called '{name}', and no target is called so",
                hint=f"lab reserve name={name} --for 1h, or see lab targets list",
            )
        target = load_target(name).check()
        if target.virtual is None:
            raise ConfigError(
                f"{name} is a target for physical boards, and you have no board called so",
                hint="lab reserve name=PLACE --for 1h, then lab bringup PLACE (docs/add-a-board.md)",
            )
        yield stack.enter_context(Bench(stack.enter_context(_own_rack(target)), target))


@contextmanager
def _own_rack(target: Target) -> Iterator[Path]:
    """A labgrid environment for a virtual board in a rack of its own."""
    import tempfile

    from lab.imaging import build
    from lab.rack import Rack
    from lab.rack.machine import machine
    from lab.runs.offered import rack_environment

    assert target.virtual is not None
    image = build(target.image)
    board = machine(target.virtual, error=target.error)
    with (
        tempfile.TemporaryDirectory(prefix="lab-") as name,
        Rack.start({target.name: board}, image=image, directory=Path(name) / "rack") as rack,
    ):
        yield rack_environment(rack, target.name, target, image, Path(name))
