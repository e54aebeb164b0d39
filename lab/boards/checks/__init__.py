"""A target's facts held against what its board will run: Debian's kernel packages, and labgrid.

A module per kind of witness; each yields a `Finding` per fact.
"""

from lab.boards.checks.check import Report, check
from lab.boards.checks.finding import Finding, State

__all__ = ["Finding", "Report", "State", "check"]
