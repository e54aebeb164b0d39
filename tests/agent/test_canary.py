"""The canary is evidence only where it was seen."""

from __future__ import annotations

import pytest

from lab.agent.canary import Canary


class Memory:
    """A buffer of ordinary memory; ``deaf``: what is written to it does not arrive."""

    def __init__(self, inode: int, deaf: bool = False) -> None:
        self.inode = inode
        self.bytes = bytes(8)
        self.deaf = deaf

    def fill(self, byte: int) -> None:
        if not self.deaf:
            self.bytes = bytes([byte]) * len(self.bytes)

    def holds(self, byte: int) -> bool:
        return self.bytes == bytes([byte]) * len(self.bytes)


def test_each_buffer_is_filled_again_after_each_frame():
    canary, planes = Canary(0xA5), [Memory(1), Memory(2)]
    for _ in range(2):
        for plane in planes:
            canary.fill(plane)
        canary.came(planes)
    assert canary.byte == 0xA5
    canary.came(planes)  # nobody filled them
    assert canary.byte is None
    canary.fill(planes[0])
    assert canary.byte is None, "that frame is among the others"


@pytest.mark.parametrize("second", [Memory(2, deaf=True), None], ids=["deaf", "forgotten"])
def test_one_plane_without_it_is_enough(second):
    canary, first = Canary(0xA5), Memory(1)
    canary.fill(first)
    if second is not None:
        canary.fill(second)
    assert canary.byte == 0xA5, "no frame came yet"
    canary.came([first, second or Memory(2)])
    assert canary.byte is None
