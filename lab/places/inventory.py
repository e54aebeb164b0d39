"""What a lab consists of, and who waits for it: reading, and changing what the admin says of it."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator, Mapping
from datetime import datetime
from typing import Any

from lab.base.errors import ConfigError
from lab.places import loop, view
from lab.places.model import HEALTH, HEALTH_REASON, JANITOR, MISSES, NOBODY, RETAKE, Health, Place, Waiting
from lab.places.wire import Wire, pb


class Inventory:
    """The half of a ``Session`` that has nothing to do with leases of its own.

    Changes raise LabError with the coordinator's words where it refuses; they are seen by the next
    reading.
    """

    _wire: Wire

    @property
    def online(self) -> bool:
        """Whether the coordinator is connected just now."""
        return self._wire.online

    def now(self) -> datetime:
        """The time by the coordinator's clock, as far as this session has seen it."""
        return view.moment(self._wire.now())

    def places(self) -> list[Place]:
        """All places, by name."""
        self._refresh()
        resources = self._resources()
        messages = sorted(self._wire.places.copy().items())
        return [view.place(message, resources) for _, message in messages]

    def place(self, name: str) -> Place:
        """The place ``name``. Raises ConfigError where there is none."""
        self._refresh()
        message = self._wire.places.get(name)
        if message is None:
            known = ", ".join(sorted(self._wire.places)) or "it has none yet"
            raise ConfigError(f"the lab has no place '{name}'", hint=f"places: {known}")
        return view.place(message, self._resources())

    def _refresh(self) -> None:
        if self._wire.is_quiet:
            loop.run(self._wire.refresh())

    def _resources(self) -> view.Resources:
        """A copy: the stream's thread goes on changing its own."""
        return {key: dict(group) for key, group in self._wire.resources.copy().items()}

    def resources(self) -> dict[tuple[str, str, str], dict[str, Any]]:
        """What exporters offer: (exporter, group, name) -> cls, avail, acquired, params."""
        return {
            (*key, name): {
                "cls": one.cls,
                "avail": one.avail,
                "acquired": one.acquired or None,
                "params": view.values(one.params),
            }
            for key, group in self._resources().items()
            for name, one in group.items()
        }

    def waiting(self) -> list[Waiting]:
        """Everyone who waits, or was just allocated a place, next first."""
        answer = self.call("GetReservations", pb.GetReservationsRequest())
        return view.queue(answer.reservations, self.places())

    def janitor(self) -> str | None:
        """Who keeps this lab tidy: the identity of a janitor that runs now."""
        answer = self.call("GetReservations", pb.GetReservationsRequest())
        return next((one.owner for one in answer.reservations if view.filters(one) == JANITOR), None)

    def set_tags(self, place: str, tags: Mapping[str, str]) -> None:
        """Set tags; an empty value removes one."""
        self.change("SetPlaceTags", pb.SetPlaceTagsRequest(placename=place, tags=dict(tags)))

    def set_health(self, place: str, health: Health, reason: str = "") -> None:
        """Say whether reservations may get ``place``, and why; since when is added."""
        known = health is not Health.UNKNOWN
        since = f"since {self.now():%Y-%m-%d %H:%M} UTC"
        said = ", ".join(filter(None, (reason, since))) if known else ""
        counted = {MISSES: ""} if health is Health.HEALTHY else {}
        self.set_tags(place, {HEALTH: health.value if known else "", HEALTH_REASON: said, **counted})
        if health is Health.HEALTHY:
            self._schedule()

    def _schedule(self) -> None:
        """Have the coordinator give now what may be given: after a change of tags it would do so in 15 s."""
        request = pb.CreateReservationRequest(prio=RETAKE)
        request.filters["main"].filter.update(NOBODY)
        token = self.call("CreateReservation", request).reservation.token
        self.call("CancelReservation", pb.CancelReservationRequest(token=token))

    def create(self, place: str, tags: Mapping[str, str] = {}, matches: Collection[str] = ()) -> None:
        """Make a place; matches are ``EXPORTER/GROUP/CLASS[/NAME]``. It has no health yet."""
        self.change("AddPlace", pb.AddPlaceRequest(name=place))
        for one in matches:
            self.match(place, one)
        if tags:
            self.set_tags(place, tags)

    def delete(self, place: str) -> None:
        """Remove a place."""
        self.change("DeletePlace", pb.DeletePlaceRequest(name=place))

    def match(self, place: str, pattern: str, rename: str | None = None) -> None:
        """Add a match to a place."""
        request = pb.AddPlaceMatchRequest(placename=place, pattern=pattern)
        if rename is not None:
            request.rename = rename
        self.change("AddPlaceMatch", request)

    def unmatch(self, place: str, pattern: str, rename: str | None = None) -> None:
        """Take a match from a place."""
        request = pb.DeletePlaceMatchRequest(placename=place, pattern=pattern)
        if rename is not None:
            request.rename = rename
        self.change("DeletePlaceMatch", request)

    def change(self, method: str, request: Any) -> Any:
        """A call that changes something, which this session then knows of."""

        async def both() -> Any:
            answer = await self._wire.call(method, request)
            await self._wire.sync()
            return answer

        return loop.run(both())

    def call(self, method: str, request: Any) -> Any:
        """Any other call of labgrid's service; messages are in ``lab.places.wire.pb``."""
        return loop.run(self._wire.call(method, request))

    def events(self, pause: float = 0.2, idle: float = 5.0) -> Iterator[None]:
        """Yield once now, then after every change (at most one each ``pause`` s), and every ``idle`` s."""
        while True:
            version = self._wire.version
            yield
            time.sleep(pause)
            loop.run(self._wire.wait_change(version, idle))
