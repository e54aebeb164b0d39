"""``lab`` as a user types it, in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from lab.base import dirs


def lab(
    *words: object, cwd: Path | None = None, timeout: float = 60, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run ``lab WORDS`` to its end, however that is. ``timeout``: seconds."""
    return subprocess.run(
        [sys.executable, "-m", "lab.cli", *map(str, words)],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(dirs.root()), "COLUMNS": "200", **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
