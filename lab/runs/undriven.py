"""Decoders that a board has and the suites cannot feed: their cells say so, and are not left out."""

from __future__ import annotations

import errno

from lab.base.words import Verdict
from lab.boards.facts import Decoder
from lab.runs.record import Attempt

STREAM = "FWHT"
"""What the suites' streams are."""


def why_undriven(decoder: Decoder) -> str:
    """Why no stream of the suites gets into ``decoder``; empty where one does."""
    if decoder.api == "stateless":
        return f"{decoder.name} is stateless: it decodes by media requests, which the lab does not make"
    if decoder.coded and STREAM not in decoder.coded:
        return f"{decoder.name} takes {', '.join(decoder.coded)}, and the suites' streams are {STREAM}"
    return ""


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
