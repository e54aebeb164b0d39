"""One client of chaos.py: takes a place, drives it, records how that went, gives it back, again and again.

usage: chaos_client.py FOLDER TTL NUMBER
"""

from __future__ import annotations

import fcntl
import os
import random
import signal
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

if "--help" in sys.argv:
    print(__doc__)
    sys.exit()

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from lab.base.errors import LabError
from lab.base.words import IommuMode, Status
from lab.places import Lease, LeaseLostError, Session, connect, doze
from lab.results.log import ResultLog
from lab.results.model import Result


def drive(lease: Lease, folder: Path, seconds: float) -> None:
    """Work on the board for a while; hands off as soon as the lease is lost. Raises LeaseLostError."""
    lease.check()
    board = os.open(folder / f"{lease.place}.board", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        try:
            fcntl.flock(board, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print(f"TWO drivers on {lease.place}: {lease.holder} came while another was there", flush=True)
            return
        if lease.lost.wait(seconds):
            raise LeaseLostError(lease.lost_reason)
    finally:
        os.close(board)


def cycle(session: Session, folder: Path, ttl: float) -> tuple[Status, str, str]:
    """One lease: how it went, why, and on which place."""
    place = ""
    try:
        with session.reserve({"soc": "rk3588"}, wait=60.0, ttl=ttl, reason="chaos") as lease:
            place = lease.place
            print(f"took {place} {lease.holder}", flush=True)
            drive(lease, folder, random.uniform(0.2, 3.0))
    except LabError as error:
        return Status.MISS, str(error), place
    finally:
        print("left", flush=True)
    return Status.PASS, "", place


def main() -> None:
    """Until SIGTERM."""
    folder, ttl, number = Path(sys.argv[1]), float(sys.argv[2]), sys.argv[3]
    random.seed(number)
    if int(number) % 2:
        doze.CROWD = -1  # every other client does as in a crowded lab
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    log = ResultLog(folder / "results.jsonl")
    session = None
    count = 0
    while True:
        count += 1
        name = f"client{number}-cycle{count}"
        started = datetime.now(UTC)
        try:
            session = session or connect()
            status, reason, place = cycle(session, folder, ttl)
        except LabError as error:  # no coordinator just now
            status, reason, place = Status.MISS, str(error), ""
            time.sleep(0.5)
        log.write(
            Result(
                run="chaos",
                test=name,
                target="light",
                iommu_asked=IommuMode.OFF,
                status=status,
                started=started,
                place=place,
                reason=reason,
                duration=(datetime.now(UTC) - started).total_seconds(),
            )
        )
        print(f"recorded {name}", flush=True)


if __name__ == "__main__":
    main()
