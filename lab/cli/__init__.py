"""The ``lab`` command."""

import atexit
import gc
import os
import sys

# Before anything imports gRPC: its handlers of fork(2) break children (grpc/grpc#43055), and ours use no gRPC
# before they are another program.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")

HELP = {"-h", "--help"}


def main() -> None:
    """Entry point. A run's first board begins to get ready before the command line is even read."""
    # What imports and a store's rows make is no garbage: to look through it every 700 objects, and once more
    # at the end, takes a fifth of a short command's time.
    gc.set_threshold(20_000, 20, 20)
    atexit.register(gc.freeze)
    if sys.argv[1:2] == ["run"] and not HELP & set(sys.argv):
        from lab.runs.launch import spawn_early

        spawn_early()
    from lab.cli.app import main as command

    command()


__all__ = ["main"]
