"""From a target to a booted board in a verified IOMMU mode, on labgrid's drivers.

``load_target`` reads targets/NAME.yaml, ``Board`` boots one board of that kind and holds the agent
that runs on it. labgrid takes half a second to import: it is imported when a board is opened, or
beforehand in the background by ``preload``.
"""

from __future__ import annotations

from lab.boards.board import Board, preload
from lab.boards.errors import CallError, LostBoardError, LostGuestError, UnreachableError
from lab.boards.facts import Decoder
from lab.boards.target import Target, load_target
from lab.boards.vmm import Vmm

__all__ = [
    "Board",
    "CallError",
    "Decoder",
    "LostBoardError",
    "LostGuestError",
    "Target",
    "UnreachableError",
    "Vmm",
    "load_target",
    "preload",
]
