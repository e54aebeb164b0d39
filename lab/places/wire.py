"""The one module that speaks to labgrid's coordinator: its stream, its calls, and coming back after a loss.

The stream tells of places and resources as they change, and gives the connection its identity.
When it ends (coordinator gone, network cut), a new one is tried until it works; ``incarnation``
counts them. A coordinator that was restarted has forgotten who had acquired what, and all reservations.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import time
from collections import deque
from collections.abc import Iterator
from fnmatch import fnmatchcase
from typing import Any

from lab.base.errors import LabError
from lab.places.loop import finish
from lab.places.protocol import pb as pb

# gRPC's fork handlers are for children that use gRPC; ours are programs, and it would warn of each.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")
os.environ.setdefault("GRPC_VERBOSITY", "NONE")

import grpc.aio

CONNECT_TIMEOUT = 5.0
CALL_TIMEOUT = 30.0  # a coordinator that waits for a hung exporter answers nobody for 10 s
RETRY = 0.3
SETTLED = 0.5
HINT = "lab up starts a lab on this machine; LG_COORDINATOR or --coordinator names another (lab doctor)"

OPTIONS = [  # as labgrid's own client has them: a dead network is noticed within 18 s
    ("grpc.keepalive_time_ms", 7500),
    ("grpc.keepalive_timeout_ms", 10000),
    ("grpc.http2.ping_timeout_ms", 10000),
    ("grpc.http2.max_pings_without_data", 0),
    # Channels of one process share a connection, but the coordinator knows a client by its connection.
    ("grpc.use_local_subchannel_pool", 1),
]
BROKEN = (grpc.aio.AioRpcError, grpc.aio.UsageError, asyncio.InvalidStateError, asyncio.CancelledError)
"""What gRPC raises where a connection ends under a call."""


def boottime() -> float:
    """Seconds that also pass while the machine sleeps."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class RefusedError(LabError):
    """The coordinator answered, and said no."""


def unanswered(address: str) -> LabError:
    """What is said where there is no coordinator."""
    return LabError(f"no labgrid coordinator answers at {address}", hint=HINT)


class Wire:
    """One connection to a coordinator, under one identity ``host/user``."""

    def __init__(self, address: str, identity: str) -> None:
        self.address = address
        self.identity = identity
        self.places: dict[str, Any] = {}
        self.resources: dict[tuple[str, str], dict[str, Any]] = {}  # as view.Resources
        self._appeared: dict[str, float] = {}  # exporter -> when it offered something new
        self.allocated: dict[str, str] = {}  # reservation -> place
        self.incarnation = 0
        self.since = 0.0  # when this incarnation began, of time.monotonic()
        self._offsets: deque[float] = deque(maxlen=8)  # the coordinator's clock minus `boottime`, in seconds
        self.online = False
        self._channel: Any = None
        self._stream: Any = None
        self._syncs: dict[int, asyncio.Event] = {}
        self._changed = asyncio.Event()
        self._version = 0
        self._task: asyncio.Task[None] | None = None
        self.is_quiet = False
        self._switch = asyncio.Lock()
        self.watchers = 0  # who needs the stream: leases, and those who wait for one

    async def open(self, timeout: float = CONNECT_TIMEOUT) -> None:
        """Connect. Raises LabError when nobody answers within ``timeout`` seconds."""
        self.start()
        if not await self.wait_online(timeout):
            await self.close()
            raise unanswered(self.address)

    def start(self) -> None:
        """Connect as soon as a coordinator is there."""
        self._task = asyncio.create_task(self._keep_connected())

    async def close(self) -> None:
        """Leave the coordinator."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None
        if self._channel is not None:
            channel, self._channel = self._channel, None
            await channel.close()

    async def quiet(self) -> None:
        """Close the stream, and be told nothing more; calls still work."""
        async with self._switch:
            if self.is_quiet or self.watchers > 1:
                return
            await self.close()
            self._channel = self._new_channel()
            self.is_quiet = self.online = True

    async def wake(self) -> None:
        """After ``quiet``: have the stream again, as soon as the coordinator is there."""
        async with self._switch:
            if not self.is_quiet:
                return
            self.is_quiet = self.online = False
            await self.close()
            self.start()
            await self.wait_online(CONNECT_TIMEOUT)

    async def refresh(self) -> None:
        """While ``quiet``: have the places as they are now. Raises LabError."""
        answer = await self.call("GetPlaces", pb.GetPlacesRequest())
        self._know({one.name: one for one in answer.places})
        self.touch()

    def now(self) -> float:
        """The coordinator's clock, in seconds since the epoch; ours, while nothing was heard of it.

        It goes on by a clock that nobody sets: a janitor whose machine gets the time from the network only
        some seconds after its start would else take every lease for one that has ended.
        """
        return boottime() + max(self._offsets) if self._offsets else time.time()

    def hear_clock(self, moment: float) -> None:
        """The coordinator's clock was ``moment`` a while ago; of the last few, the shortest while counts."""
        self._offsets.append(moment - boottime())

    @property
    def version(self) -> int:
        """Grows by every change; for ``wait_change``."""
        return self._version

    async def wait_change(self, version: int, timeout: float) -> None:
        """Return when something has changed since ``version``, or after ``timeout`` seconds."""
        if self._version == version:
            try:
                async with asyncio.timeout(max(timeout, 0.0)):
                    await self._changed.wait()
            except TimeoutError:
                pass

    async def wait_online(self, timeout: float) -> bool:
        """Whether the coordinator is there within ``timeout`` seconds."""
        end = time.monotonic() + timeout
        while not self.online and time.monotonic() < end:
            await self.wait_change(self._version, end - time.monotonic())
        return self.online

    def touch(self) -> None:
        """Wake everyone who waits for a change."""
        self._version += 1
        self._changed.set()
        self._changed = asyncio.Event()

    async def call(self, method: str, request: Any, timeout: float = CALL_TIMEOUT) -> Any:
        """One call of the coordinator's service.

        Raises RefusedError with the coordinator's words, or LabError when it cannot be reached.
        """
        channel = self._channel
        if channel is None or not self.online:
            raise LabError(f"the coordinator at {self.address} is gone")
        answer = getattr(pb, f"{method}Response")
        remote = channel.unary_unary(
            f"/labgrid.Coordinator/{method}",
            request_serializer=type(request).SerializeToString,
            response_deserializer=answer.FromString,
        )
        try:
            return await remote(request, timeout=timeout)
        except grpc.aio.AioRpcError as error:
            if error.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED):
                raise LabError(f"the coordinator at {self.address} does not answer {method}") from None
            raise RefusedError(f"coordinator: {error.details() or error.code().name}") from None
        except BROKEN as error:
            _unless_cancelled(error)
            raise LabError(f"the coordinator at {self.address} is gone") from None

    def settled(self, place: Any) -> bool:
        """Whether the exporters that ``place`` matches have offered nothing new for a while.

        An exporter that connects offers its resources one by one, and labgrid acquires what there is.
        """
        since = time.monotonic() - SETTLED
        return all(
            moment < since
            for exporter, moment in self._appeared.items()
            if any(fnmatchcase(exporter, match.exporter) for match in place.matches)
        )

    async def sync(self) -> None:
        """Return when all that the coordinator had told when it got this has come here (or it is gone)."""
        stream = self._stream
        if not self.online or stream is None:
            return
        number = next(_SYNC)
        event = self._syncs[number] = asyncio.Event()
        request = pb.ClientInMessage()
        request.sync.id = number
        try:
            await finish(stream.write(request))  # to cancel a write would end the stream
            async with asyncio.timeout(CALL_TIMEOUT):
                await event.wait()
        except (*BROKEN, TimeoutError) as error:
            _unless_cancelled(error)
        finally:
            self._syncs.pop(number, None)

    async def _keep_connected(self) -> None:
        while True:
            try:
                await self._connect_once()
            except BROKEN as error:
                _unless_cancelled(error)
            finally:
                self.online = False
                channel, self._channel = self._channel, None
                self._stream = None  # it would keep the connection open
                for event in self._syncs.values():
                    event.set()
                self.touch()
                if channel is not None:
                    await asyncio.shield(channel.close())
            await asyncio.sleep(RETRY)

    async def _connect_once(self) -> None:
        # A channel of its own each time: one that failed waits longer and longer before it tries again.
        self._channel = self._new_channel()
        stream = self._channel.stream_stream(
            "/labgrid.Coordinator/ClientStream",
            request_serializer=pb.ClientInMessage.SerializeToString,
            response_deserializer=pb.ClientOutMessage.FromString,
        )
        places: dict[str, Any] = {}
        resources: dict[tuple[str, str], dict[str, Any]] = {}
        self._stream = stream()
        for request in self._hello():
            await self._stream.write(request)
        async for message in self._stream:
            for update in message.updates:
                self._apply(update, places, resources)
            if message.HasField("sync") and (event := self._syncs.pop(message.sync.id, None)):
                event.set()
            elif message.HasField("sync"):
                self.resources = resources
                self._know(places)
                self.incarnation += 1
                self.since = time.monotonic()
                self.online = True
            if self.online:
                self.touch()

    def _know(self, places: dict[str, Any]) -> None:
        self.places = places
        self.allocated = {one.reservation: one.name for one in places.values() if one.reservation}

    def _new_channel(self) -> Any:
        options = list(OPTIONS)
        if self.address.startswith(("127.", "localhost", "[::1]", "::1")):
            options.append(("grpc.enable_http_proxy", 0))
        return grpc.aio.insecure_channel(self.address, options=options)

    def _hello(self) -> Iterator[Any]:
        """Who we are and what we want to hear; the sync's answer says that we have heard all there is."""
        message = pb.ClientInMessage()
        message.startup.version = "sharelab"
        message.startup.name = self.identity
        yield message
        for kind in ("all_places", "all_resources"):
            message = pb.ClientInMessage()
            setattr(message.subscribe, kind, True)
            yield message
        message = pb.ClientInMessage()
        message.sync.id = next(_SYNC)
        yield message

    def _apply(
        self, update: Any, places: dict[str, Any], resources: dict[tuple[str, str], dict[str, Any]]
    ) -> None:
        match update.WhichOneof("kind"):
            case "place":
                place = update.place
                known = places.get(place.name)
                if self.online and known is not None and place.changed != known.changed:
                    self.hear_clock(place.changed)  # it has just been touched
                places[place.name] = place
                if known is not None and known.reservation:
                    self.allocated.pop(known.reservation, None)
                if place.reservation:
                    self.allocated[place.reservation] = place.name
            case "del_place":
                gone = places.pop(update.del_place, None)
                if gone is not None:
                    self.allocated.pop(gone.reservation, None)
            case "resource":
                path = update.resource.path
                group = resources.setdefault((path.exporter_name, path.group_name), {})
                if self.online and path.resource_name not in group:
                    self._appeared[path.exporter_name] = time.monotonic()
                group[path.resource_name] = update.resource
            case "del_resource":
                path = update.del_resource
                resources.get((path.exporter_name, path.group_name), {}).pop(path.resource_name, None)


def _unless_cancelled(error: BaseException) -> None:
    """Raise ``error`` where this task itself is cancelled: gRPC cancels calls of a closed channel too."""
    task = asyncio.current_task()
    if isinstance(error, asyncio.CancelledError) and task is not None and task.cancelling():
        raise error


_SYNC = itertools.count(1)
