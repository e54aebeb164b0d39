"""Results: the log of a run, the store, the matrix, the report, JUnit and exit codes.

The heavy parts (database, templates, terminal) are modules of their own: ``store``, ``report``,
``matrix``, ``junit``, ``folder``. What is here starts fast.
"""

from lab.results.exits import exit_code, outcome_code
from lab.results.log import LogContents, ResultLog, read
from lab.results.model import Cell, CellKey, Result, Run
from lab.results.outcome import Outcome

__all__ = [
    "Cell",
    "CellKey",
    "LogContents",
    "Outcome",
    "Result",
    "ResultLog",
    "Run",
    "exit_code",
    "outcome_code",
    "read",
]
