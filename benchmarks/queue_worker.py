"""A part of queue_scale.py: many jobs in one process, each a client of its own. Prints a JSON line a job.

usage: queue_worker.py ours|labgrid ADDRESS WORKER JOBS TOGETHER HOLD
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import sys
import time
from pathlib import Path
from typing import Any

if "--help" in sys.argv:
    print(__doc__)
    sys.exit()

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from lab.places.lease import HeldPlace
from lab.places.queue import Seeker, Wish
from lab.places.wire import Wire

WORKERS = 4
SOCS = 10


async def ours(address: str, number: int, hold: float) -> dict[str, Any]:
    """As `lab reserve` does it."""
    wire = Wire(address, f"bench/job{number}.{number % 65536:04x}")
    await wire.open(60.0)
    asked = time.monotonic()
    place, info = await Seeker(wire, Wish({"soc": f"soc{number % SOCS}"}), None).seek(None)
    got = time.monotonic()
    held = HeldPlace(wire, place, info, lambda reason: None)
    held.start()
    await asyncio.sleep(hold * random.uniform(0.5, 1.5))
    await held.check()
    released = time.monotonic()
    await held.release()
    await wire.close()
    return {"number": number, "place": place, "asked": asked, "got": got, "released": released}


async def labgrids(address: str, number: int, hold: float) -> dict[str, Any]:
    """As labgrid-client does it: reserve --wait, lock, cancel-reservation, unlock."""
    import grpc.aio
    from labgrid.remote.client import ClientSession
    from labgrid.remote.generated import labgrid_coordinator_pb2 as pb
    from labgrid.remote.generated import labgrid_coordinator_pb2_grpc

    class Client(ClientSession):
        """With an identity and a connection of its own: channels of one process share one otherwise."""

        def getuser(self) -> str:
            return f"job{number}"

    args = argparse.Namespace(allow_unmatched=False, kick=False)
    client = Client(address, asyncio.get_running_loop(), args=args)
    await client.channel.close()
    client.channel = grpc.aio.insecure_channel(address, options=[("grpc.use_local_subchannel_pool", 1)])
    client.stub = labgrid_coordinator_pb2_grpc.CoordinatorStub(client.channel)
    await client.start()
    asked = time.monotonic()
    wanted = pb.Reservation.Filter(filter={"soc": f"soc{number % SOCS}"})
    answer = await client.stub.CreateReservation(pb.CreateReservationRequest(filters={"main": wanted}))
    args.token = answer.reservation.token
    await client._wait_reservation(args.token, verbose=False)
    await client.sync_with_coordinator()
    place = next(name for name, one in client.places.items() if one.reservation == args.token)
    args.place = place
    await client._acquire_place(place)
    got = time.monotonic()
    await asyncio.sleep(hold * random.uniform(0.5, 1.5))
    released = time.monotonic()
    await client.cancel_reservation()
    await client._release_place(place)
    await client.stop()
    await client.close()
    return {"number": number, "place": place, "asked": asked, "got": got, "released": released}


async def work(kind: str, address: str, worker: int, jobs: int, together: int, hold: float) -> None:
    """This worker's share of the jobs, ``together`` at a time."""
    job = ours if kind == "ours" else labgrids
    todo = iter(range(worker, jobs, WORKERS))

    async def runner(delay: float) -> None:
        await asyncio.sleep(delay)
        for number in todo:
            try:
                done = await job(address, number, hold)
            except Exception as error:  # a job lost: the bench counts them
                print(f"job {number}: {error}", file=sys.stderr)
                continue
            print(json.dumps(done), file=sys.__stdout__, flush=True)

    await asyncio.gather(*(runner(random.uniform(0, 2 * hold)) for _ in range(together)))


if __name__ == "__main__":
    os.environ["LG_HOSTNAME"] = "bench"
    sys.stdout = Path(os.devnull).open("w")  # noqa: SIM115 (labgrid's client prints what it does)
    kind, address = sys.argv[1:3]
    asyncio.run(work(kind, address, *map(int, sys.argv[3:6]), float(sys.argv[6])))
