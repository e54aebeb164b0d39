"""Decode one stream on a board, into buffers of one allocator: ``lab decode --on``."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from dataclasses import replace

from lab.base.errors import BoardError
from lab.base.words import Verdict
from lab.boards import load_target
from lab.media import FrameLayout, Stream
from lab.media.layout import interleaved
from lab.runs.devices import Decoder, Share
from lab.runs.lab import Lab, place_from_environment
from lab.runs.record import Attempt
from lab.sharing import Allocator

SECONDS_A_FRAME = 10.0
"""What a frame may take on the slowest board; the agent itself gives up after as long without progress."""


def decode_on(name: str, mode: str | None, allocator: Allocator, stream: Stream) -> Share:
    """Boot target ``name`` in ``mode`` (None: its first); decode ``stream`` with its first decoder.

    Raises ConfigError for an unknown target or mode, LabError where the lab fails, BoardError where the
    board refuses the buffer or the stream: it says which, and why.
    """
    target = load_target(name)
    wanted = target.mode(mode) if mode else target.default_modes[0]
    lab = Lab(target, place=place_from_environment())
    try:
        lab.prepare()
        lab.open()
        decoder = Decoder(lab.board(wanted), target.decoders[0], wanted, Attempt())
        timeout = SECONDS_A_FRAME * (1 + len(stream.sizes))
        share = decoder.decode_into(allocator, stream, timeout=SECONDS_A_FRAME, call_timeout=timeout)
    finally:
        lab.close()
    _check(share, f"{name} in mode {wanted}")
    return share


def _check(share: Share, where: str) -> None:
    """Raise BoardError unless every frame came out of the board without an error flag."""
    raw = share.raw
    if raw["errno"]:
        word = errno.errorcode.get(raw["errno"], str(raw["errno"]))
        done = f" after {len(raw['frames'])} frames" if raw["frames"] else ""
        verb = "refused the buffer" if share.verdict is Verdict.REFUSED else f"failed at {raw['stage']}{done}"
        reason = raw["refusal_line"] or raw["message"]
        raise BoardError(f"{where} {verb}: {word}: {reason}", errno=raw["errno"])
    for frame in raw["frames"]:
        if frame["error_flag"]:
            raise BoardError(f"{where}: the decoder flagged frame {frame['index']} as damaged")


def packed(share: Share, stream: Stream) -> Iterator[bytes]:
    """The frames of ``share`` in the layout of `lab.media.Frame.nv12`: coded size, no gap between rows."""
    layouts = [
        FrameLayout.of(found, frame.coded)
        for found, frame in zip(share.raw["formats"], stream.frames, strict=False)
    ]
    for frame, picture in zip(share.raw["frames"], stream.frames, strict=True):
        whole = replace(layouts[frame["format"]], visible=(0, 0, *picture.coded))
        yield interleaved(whole.pixels(frame["data"], frame["sizes"]), *picture.coded)
