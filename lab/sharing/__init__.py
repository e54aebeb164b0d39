"""The domain, pure: what a decoder demands, what an allocator guarantees, what the evidence proves.

``expected`` says from the constraint model what a share ought to turn out to be, ``judge`` says from
the recorded evidence what it was, and ``settle`` holds one against the other.
"""

from lab.sharing.allocators import ALLOCATORS, Allocator
from lab.sharing.constraints import BoardFacts, DecoderFacts, Layout, Reach
from lab.sharing.evidence import Evidence
from lab.sharing.expect import Expectation, expected
from lab.sharing.pixels import Pixels
from lab.sharing.settle import Outcome, Standing, settle
from lab.sharing.verdict import Judgement, judge

__all__ = [
    "ALLOCATORS",
    "Allocator",
    "BoardFacts",
    "DecoderFacts",
    "Evidence",
    "Expectation",
    "Judgement",
    "Layout",
    "Outcome",
    "Pixels",
    "Reach",
    "Standing",
    "expected",
    "judge",
    "settle",
]
