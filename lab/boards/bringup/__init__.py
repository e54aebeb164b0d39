"""The first hour with a new board, as a guided check: step by step from its power to its GPU.

`STEPS` are the steps in their order (a module each for wires and for Linux), `run` goes through them,
`proposal` writes down what the board said as its target file.
"""

from __future__ import annotations

from lab.boards.bringup import linux, wires
from lab.boards.bringup.bench import Bench
from lab.boards.bringup.step import Outcome, State, Step, run

__all__ = ["Bench", "Outcome", "State", "Step", "run", "steps"]


def steps(bench: Bench) -> list[Step]:
    """All steps for the board on ``bench``; one for each of its target's IOMMU modes."""
    return [*wires.STEPS, *linux.STEPS, *linux.mode_steps(bench.target)]
