"""The domain, pure: what a decoder demands, what an allocator guarantees, what the evidence proves.

``expected`` says from the constraint model what a share ought to turn out to be, ``judge`` says from
the recorded evidence what it was, and ``settle`` holds one against the other. ``expected_path`` and
``settle_path`` do so for sharing paths, which have more than one importer or a VM boundary between.
"""

from lab.sharing.allocators import ALLOCATORS, Allocator
from lab.sharing.constraints import BoardFacts, DecoderFacts, Layout, Reach
from lab.sharing.evidence import Evidence
from lab.sharing.expect import Expectation, expected, expected_path
from lab.sharing.gather import (
    across,
    ended,
    given_up,
    joined_faults,
    offered,
    pages_written,
    transfers,
    transfers_in_guest,
    tried,
)
from lab.sharing.paths import PATHS, Boundary, Capability, Place, SharingPath, VmmFacts
from lab.sharing.pixels import Pixels
from lab.sharing.settle import Outcome, Standing, settle, settle_path
from lab.sharing.translation import translated
from lab.sharing.verdict import Judgement, judge

__all__ = [
    "ALLOCATORS",
    "PATHS",
    "Allocator",
    "BoardFacts",
    "Boundary",
    "Capability",
    "DecoderFacts",
    "Evidence",
    "Expectation",
    "Judgement",
    "Layout",
    "Outcome",
    "Pixels",
    "Place",
    "Reach",
    "SharingPath",
    "Standing",
    "VmmFacts",
    "across",
    "ended",
    "expected",
    "expected_path",
    "given_up",
    "joined_faults",
    "judge",
    "offered",
    "pages_written",
    "settle",
    "settle_path",
    "transfers",
    "transfers_in_guest",
    "translated",
    "tried",
]
