"""The messages of labgrid's coordinator."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

from lab.base.errors import LabError

MESSAGES = "labgrid.remote.generated.labgrid_coordinator_pb2"


def _messages() -> Any:
    """labgrid's protocol messages, without the half second that importing all of labgrid takes."""
    if MESSAGES in sys.modules:
        return sys.modules[MESSAGES]
    package = importlib.util.find_spec("labgrid")
    if package is None or package.origin is None:
        raise LabError("labgrid is not installed", hint="./bootstrap.sh")
    file = Path(package.origin).parent / "remote/generated/labgrid_coordinator_pb2.py"
    spec = importlib.util.spec_from_file_location("labgrid_coordinator_pb2", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


pb = _messages()
