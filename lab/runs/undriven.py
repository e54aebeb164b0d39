"""Decoders that a board has and the suites cannot feed: their cells say so, and are not left out."""

from __future__ import annotations

import errno
from collections.abc import Mapping
from typing import Any

from lab.base.words import Verdict
from lab.boards.facts import Decoder
from lab.media import Recorded
from lab.runs import streams
from lab.runs.record import Attempt


def why_undriven(decoder: Decoder) -> str:
    """Why no stream of the suites gets into ``decoder``; empty where one does."""
    if decoder.api == "stateless":
        return f"{decoder.name} is stateless: it decodes by media requests, which the lab does not make"
    if not streams.codecs(decoder):
        there = ", ".join((streams.FWHT, *streams.FILES))
        return f"{decoder.name} takes {', '.join(decoder.coded)}, and there are streams of {there}"
    if not streams.raw_formats(decoder):
        return f"{decoder.name} decodes to {', '.join(decoder.raw)}, and none of these has its pixels in rows"
    return ""


def why_not_taken(arguments: Mapping[str, Any]) -> str:
    """Why the device does not take a file that is among a test's arguments; empty where it does."""
    decoder = arguments.get("decoder")
    files = [value for value in arguments.values() if isinstance(value, Recorded)]
    if decoder is None or not files or (node := decoder.node) is None:
        return ""
    return next(filter(None, (streams.why_not(file, node, decoder.board.agent) for file in files)), "")


def note(attempt: Attempt, decoder: Decoder, why: str) -> None:
    """The attempt's verdict is ``unsupported``, and nothing else could be expected."""
    attempt.verdict = attempt.expected = Verdict.UNSUPPORTED
    attempt.reasons, attempt.expected_reason = (why,), why
    attempt.errno = attempt.expected_errno = errno.ENODEV
    attempt.evidence = {
        "stage": "probe",
        "errno": errno.ENODEV,
        "message": why,
        "importer": decoder.device,
        "frames": [],
    }
