"""The fixtures of the suites: a test takes a decoder and a stream, and asks for nothing else."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from lab.base.errors import LabError
from lab.base.words import IommuMode
from lab.boards import Board
from lab.boards.facts import Decoder as DecoderEntry
from lab.media import Coded, sample
from lab.runs import streams
from lab.runs.beside import MARK
from lab.runs.crossings.crossing import Crossing
from lab.runs.devices import Decoder
from lab.runs.record import ATTEMPT
from lab.runs.session import SESSION
from lab.runs.undriven import why_undriven


@pytest.fixture
def board(request: pytest.FixtureRequest, iommu_mode: IommuMode) -> Iterator[Board]:
    """The board, booted in this test's IOMMU mode, which was verified on it. Afterwards all is closed."""
    attempt = request.node.stash[ATTEMPT]
    session = request.config.stash[SESSION]
    booted = session.lab.board(iommu_mode)
    session.beside.ensure(booted, iommu_mode)
    attempt.iommu_verified = booted.mode
    attempt.kernel = booted.facts["kernel"]
    mark = booted.mark()
    yield booted
    if booted.snapshot:  # the board may have gone on from one within the test, with a guest
        attempt.environment["snapshot"] = booted.snapshot
    attempt.log = booted.console_since(mark)
    try:
        booted.agent.call("reset", timeout=10)
    except LabError:
        # The test said already that the board was lost; the next one boots it again.
        attempt.detail = booted.last_words()


@pytest.fixture
def decoder(request: pytest.FixtureRequest, board: Board, iommu_mode: IommuMode) -> Decoder:
    """The decoder of the target file that this test is for."""
    entry: DecoderEntry = request.param
    return Decoder(board, entry, iommu_mode, request.node.stash[ATTEMPT])


@pytest.fixture
def crossing(request: pytest.FixtureRequest, decoder: Decoder) -> Iterator[Crossing]:
    """What a test of a sharing path holds: the board with its first decoder, and a guest when it asks."""
    held = Crossing(decoder, request.node.stash[ATTEMPT])
    yield held
    held.finish()


@pytest.fixture
def beside(request: pytest.FixtureRequest, decoder: Decoder) -> dict[str, Any]:
    """What the program of the test's mark ``beside`` left: rc, stdout, stderr (bytes)."""
    argv = request.node.get_closest_marker(MARK).args
    programs = request.config.stash[SESSION].beside
    done: dict[str, Any] = programs.result(decoder.board, decoder.entry, argv, timeout=60)
    return done


@pytest.fixture
def stream(decoder: Decoder) -> Coded:
    """One key frame, the smallest that the decoder takes."""
    return _for(decoder, streams.least)


@pytest.fixture
def frames(decoder: Decoder) -> Callable[[int], Coded]:
    """Called with a number: a small stream of as many frames, of which later ones build on earlier ones."""

    def make(count: int) -> Coded:
        return _for(decoder, streams.several, count)

    return make


@pytest.fixture
def changing(decoder: Decoder) -> Coded:
    """A stream whose resolution changes on the way."""
    return _for(decoder, streams.changing)


@pytest.fixture
def sized(request: pytest.FixtureRequest, decoder: Decoder) -> Coded:
    """A stream of each size that there is for the decoder."""
    return _for(decoder, lambda entry, agent: streams.get(request.param))


def _for(decoder: Decoder, choose: Callable[..., Coded], *words: Any) -> Coded:
    """A stream; for a decoder that none gets into any one, for its test ends before that is used."""
    if why_undriven(decoder.entry):
        return sample(16, 16, count=1)
    return choose(decoder.entry, decoder.board.agent, *words)
