"""A decoder that no stream of the suites gets into: its cells are unsupported, with the reason."""

from __future__ import annotations

import pytest

from lab.base.words import Status, Verdict
from lab.boards import load_target
from lab.boards.target import names
from lab.imaging import build
from lab.results.log import read
from lab.runs import streams
from lab.runs.undriven import why_undriven
from tests.command import lab


def test_what_no_stream_gets_into_says_why():
    """Stateless decoders; every stateful one of a target has streams, and a format with pixels in rows."""
    for name in names():
        for decoder in load_target(name).decoders:
            why = why_undriven(decoder)
            assert ("stateless" in why) == (decoder.api == "stateless"), (name, decoder.name)
            assert bool(why) == (decoder.api == "stateless"), why
            assert decoder.api == "stateless" or streams.named(decoder)


def test_a_codec_or_a_format_that_the_suites_do_not_have():
    (decoder,) = load_target("virt-cma").decoders
    other = decoder.model_copy(update={"coded": ("MPEG2",)})
    assert why_undriven(other) == "wide takes MPEG2, and there are streams of FWHT, H264, HEVC, VP8, VP9"
    tiled = decoder.model_copy(update={"raw": ("MM21",)})
    assert why_undriven(tiled) == "wide decodes to MM21, and none of these has its pixels in rows"


@pytest.mark.board
@pytest.mark.timeout(120)
def test_a_run_says_unsupported_and_nothing_was_decoded(tmp_path):
    build()
    text = load_target("virt-cma").path.read_text()
    assert "coded: [FWHT]" in text
    path = tmp_path / "mine.yaml"
    path.write_text(text.replace("coded: [FWHT]", "api: stateless\n    coded: [H264_SLICE]"))
    done = lab("run", "board", "-t", path, "-k", "import and (mmap or 4k)", cwd=tmp_path, timeout=110)
    assert done.returncode == 0, done.stderr
    assert "unsupported" in done.stdout
    assert "media requests" in done.stdout
    log, *_ = tmp_path.glob("results/2*/results.jsonl")
    results = read(log).results
    assert len(results) > 1
    for result in results:
        assert (result.status, result.verdict) == (Status.PASS, Verdict.UNSUPPORTED)
        assert result.iommu_verified is not None
        assert "stateless" in result.reason
