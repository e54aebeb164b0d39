"""A build in a process of its own, to be killed. Arguments: the cache, seconds that its one step takes."""

import sys
import time
from pathlib import Path

from lab.imaging.cache import Cache, Work


def make(work: Work) -> None:
    (work.path / "half").write_text("half")
    print("inside", flush=True)
    time.sleep(float(sys.argv[2]))
    (work.path / "whole").write_text("whole")


print("fresh" if Cache(Path(sys.argv[1])).step("slow", "k", make).fresh else "found", flush=True)
