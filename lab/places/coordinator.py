"""labgrid's coordinator as ``lab up`` runs it: ``python -m lab.places.coordinator -l ADDRESS``.

The same service, by labgrid's own code, in three things unlike ``labgrid-coordinator``: asyncio's debug
mode is off, which makes it three to four times as fast for each message to a client; it saves its places
when it is told to end, and not only every 15 s; and it takes as many clients as it may have files.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import resource
from types import SimpleNamespace
from typing import Any

from labgrid.remote import coordinator


async def serve(listen: str) -> None:
    """Serve at ``listen`` until SIGTERM or SIGINT."""
    found: Any = SimpleNamespace(coordinator=None)
    coordinator.inspect = found  # labgrid's hook for its debugger: it puts the coordinator there
    await coordinator.serve(listen, [])
    if found.coordinator is not None:
        await found.coordinator.save()


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-l", "--listen", default="127.0.0.1:20408", metavar="HOST:PORT")
    options = parser.parse_args()
    run(options.listen)


def run(listen: str) -> None:
    """Serve at ``listen``, log what happens to stderr."""
    logging.basicConfig(level=logging.INFO)
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # a connection for each client
    asyncio.run(serve(listen))


if __name__ == "__main__":
    main()
