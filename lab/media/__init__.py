"""Streams and reference frames: the FWHT codec in Python, test patterns, hashes.

Written from the bit-stream format and independent of the kernel's code, so that the pixels a board
decodes are held against a second opinion.
"""

from lab.media.decoder import decode
from lab.media.encoder import encode
from lab.media.frame import Frame, Plane
from lab.media.header import Header, MediaError, scan
from lab.media.layout import FrameLayout
from lab.media.stream import Coded, Recorded, Stream, sample

__all__ = [
    "Coded",
    "Frame",
    "FrameLayout",
    "Header",
    "MediaError",
    "Plane",
    "Recorded",
    "Stream",
    "decode",
    "encode",
    "sample",
    "scan",
]
