"""An FWHT encoder: makes the streams that the boards decode."""

from __future__ import annotations

import struct
from collections.abc import Iterable

from lab.media.blocks import INTER_SHIFTS, INTRA_SHIFTS, quantise, repeated, to_words
from lab.media.decoder import decode_frame
from lab.media.frame import Frame, Plane
from lab.media.header import Flags, Header
from lab.media.walsh import forward


def encode(
    frames: Iterable[Frame], *, gop: int = 8, intra_threshold: int = 20, inter_threshold: int = 20
) -> bytes:
    """The stream of ``frames``, which all have one size.

    Every ``gop``-th frame is coded without reference to the one before it (1: all of them). The
    thresholds say up to which size a quantised coefficient is dropped; 20 is vicodec's default.
    A plane that would grow is stored as it is, with 255 made 254, so that the header's magic number
    never appears in a payload. Raises ValueError where the frames' sizes differ.
    """
    out = []
    decoded: Frame | None = None
    for index, frame in enumerate(frames):
        if decoded is not None and (frame.width, frame.height) != (decoded.width, decoded.height):
            raise ValueError(f"frame {index} is {frame.width}x{frame.height}, the stream is not")
        reference = decoded if index % gop else None
        payload = b""
        flags = 0
        any_inter = False
        for name, raw in (("y", Flags.LUMA_RAW), ("cb", Flags.CB_RAW), ("cr", Flags.CR_RAW)):
            plane: Plane = getattr(frame, name)
            old = getattr(reference, name) if reference is not None else None
            data, inter = _encode_plane(plane, old, intra_threshold, inter_threshold)
            if len(data) >= len(plane.data):
                data, inter = plane.data.replace(b"\xff", b"\xfe"), False
                flags |= raw
            payload += data
            any_inter |= inter
        if not any_inter:
            flags |= Flags.INTRA
        header = Header(frame.width, frame.height, flags, len(payload), index)
        # The decoder's picture, not the original, is what the next frame's P blocks add to.
        decoded = decode_frame(header, payload, decoded)
        out += [header.pack(), payload]
    return b"".join(out)


def _encode_plane(
    plane: Plane, reference: Plane | None, intra_threshold: int, inter_threshold: int
) -> tuple[bytes, bool]:
    """One plane's words, and whether P blocks are among them."""
    blocks = []
    for top in range(0, len(plane.data), 8 * plane.width):
        for left in range(top, top + plane.width, 8):
            samples = _block(plane, left)
            centred = [sample - 128 for sample in samples]
            delta = None
            if reference is not None:
                delta = [a - b for a, b in zip(samples, _block(reference, left), strict=True)]
                mean = sum(samples) // 64
                if sum(map(abs, delta)) >= sum(abs(sample - mean) for sample in samples):
                    delta = None
            if delta is None:
                levels = quantise(forward(centred), INTRA_SHIFTS, intra_threshold)
            else:
                levels = quantise(forward(delta), INTER_SHIFTS, inter_threshold)
            blocks.append((delta is not None, to_words(levels)))
    words = repeated(blocks)
    return struct.pack(f">{len(words)}H", *words), any(inter for inter, _ in blocks)


def _block(plane: Plane, left: int) -> bytes:
    starts = range(left, left + 8 * plane.width, plane.width)
    return b"".join([plane.data[start : start + 8] for start in starts])
