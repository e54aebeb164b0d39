"""A lab of virtual boards for tests: coordinator, exporter and rack, all real; several boards of a kind."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import TracebackType

from lab.boards import load_target
from lab.imaging import build
from lab.places import connect
from lab.rack import Rack
from lab.rack.machine import machine
from tests.lightlab import LightLab


class BoardLab(LightLab):
    """Places of virtual boards, healthy and off."""

    def __init__(self, folder: Path, boards: Mapping[str, str]) -> None:
        """``boards``: place -> target."""
        super().__init__(folder)
        self.start_janitor()  # also shows how old the coordinator is: else all who reserve stand back for 3 s
        targets = {name: load_target(target) for name, target in boards.items()}
        machines = {
            name: machine(target.virtual or {}, error=target.error) for name, target in targets.items()
        }
        image = build(next(iter(targets.values())).image)
        self.rack = Rack.start(machines, image=image, directory=folder / "rack")
        self.start_exporter("rack", {name: self.rack.resources(name) for name in boards})
        with connect(self.address, user="admin") as session:
            for name, target in targets.items():
                self.add_places(session, name, exporter="rack", soc=target.soc, target=boards[name])

    def all_off(self) -> None:
        """Switch every board off."""
        for name in self.rack.names:
            self.rack.request("PUT", f"/{name}", b"0")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.rack.close()
        super().__exit__(kind, error, trace)
