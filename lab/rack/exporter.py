"""A running rack as configuration of ``labgrid-exporter``."""

from __future__ import annotations

import yaml

from lab.rack.rack import Rack

# The exporter reads its file through Jinja2 with line statements: `#` begins one, `##` a comment.
HEAD = """\
## Virtual boards of sharelab, for `labgrid-exporter`. The ports are this machine's loopback interface:
## labgrid's clients must run on this machine. Written by `lab rack up`; right while that rack runs.
"""


def exporter_yaml(rack: Rack) -> str:
    """The text of an exporter.yaml: one group a board, named as the board."""
    return HEAD + yaml.safe_dump({name: rack.resources(name) for name in rack.names}, sort_keys=False)
