"""A lab with one virtual board, for a machine of its own: prints its ports, and stays until it is ended."""

from __future__ import annotations

import signal
import sys
import threading
from pathlib import Path

from tests.boardlab import BoardLab

over = threading.Event()
signal.signal(signal.SIGTERM, lambda *_: over.set())
with BoardLab(Path(sys.argv[1]), {"cma-1": "virt-cma"}) as lab:
    [board] = lab.rack.status().values()
    coordinator = lab.address.rpartition(":")[2]
    print("ports", coordinator, lab.rack.state.http_port, board.serial, board.ssh, flush=True)
    over.wait()
