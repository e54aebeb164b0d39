"""Results of other tools: read with care, for their files come from anywhere.

A reader is a function from the text of a file to `Case`s; `read` chooses one and makes results of them.
Files above a limit, nesting without end and XML or YAML with entities, aliases or document types are
refused with one line that says so.
"""

from lab.results.foreign.case import Case, Origin
from lab.results.foreign.read import FORMATS, read

__all__ = ["FORMATS", "Case", "Origin", "read"]
