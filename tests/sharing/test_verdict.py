"""Evidence to verdict: scenes as measured, and properties over arbitrary evidence."""

import errno

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from lab.base.errors import LabError
from lab.base.words import Verdict
from lab.sharing import Evidence, judge
from lab.sharing.evidence import SOURCES
from tests.sharing import scenes
from tests.sharing.scenes import CANARY, DEVICE, REFERENCES


def verdict(raw, references=REFERENCES):
    return judge(Evidence.from_raw(raw), references)


def test_shared_memory_is_zero_copy():
    found = verdict(scenes.shared())
    assert found.verdict is Verdict.ZERO_COPY
    assert "76032 bytes of 2 frames" in found.reason
    assert found.pages is not None
    assert found.pages.contiguous is False


def test_own_allocation_is_zero_copy_without_attachment():
    assert verdict(scenes.own()).verdict is Verdict.ZERO_COPY


def test_own_allocation_by_scatter_list():
    # vb2-dma-sg: pages of its own, mapped instead of allocated by the DMA layer.
    raw = scenes.own(allocs=[], maps=[scenes.mapped(scenes.scattered(), iova=0x1000)])
    assert verdict(raw).verdict is Verdict.ZERO_COPY


def test_control_is_copied():
    found = verdict(scenes.control())
    assert found.verdict is Verdict.COPIED
    assert "never attached" in found.reason


def test_foreign_buffer_cannot_pass_as_the_decoders_own():
    raw = scenes.own(buffer={"exporter": "udmabuf", "inode": 1, "size": 40960})
    assert verdict(raw).verdict is Verdict.COPIED
    assert verdict(scenes.control(allocs=scenes.own()["allocs"])).verdict is Verdict.COPIED


def test_refusal_has_its_errno_and_the_kernels_reason():
    found = verdict(scenes.refused())
    assert (found.verdict, found.errno) == (Verdict.REFUSED, errno.EFAULT)
    assert found.reason == "EFAULT: contiguous chunk is too small 4096/40960"


def test_silent_loss_is_corrupt():
    found = verdict(scenes.bounced())
    assert found.verdict is Verdict.CORRUPT
    wrong = found.pixels.different
    assert found.reason == (
        f"decoder reported DONE, {wrong} of 76032 bytes differ; "
        "10 pages bounced (swiotlb) and were never copied back"
    )
    assert f"{wrong} of them still hold the canary" in found.reasons


def test_bounced_with_right_pixels_is_copied():
    found = verdict(scenes.bounced(back=True))
    assert (found.verdict, found.reason) == (Verdict.COPIED, "10 pages bounced (swiotlb)")


def test_wrong_pixels_with_faults_are_faulted():
    raw = scenes.shared(
        frames=scenes.frames([bytes(38016)] * 2), faults=3, fault_lines=["event 0x10 received:"]
    )
    found = verdict(raw)
    assert found.verdict is Verdict.FAULTED
    assert found.reason.startswith("3 IOMMU faults (event 0x10 received:)")


def test_faults_with_right_pixels_are_no_pass():
    assert verdict(scenes.shared(faults=1)).verdict is Verdict.FAULTED


def test_stale_frame_is_named():
    found = verdict(scenes.shared(frames=scenes.frames([REFERENCES[0], REFERENCES[0]])))
    assert found.verdict is Verdict.CORRUPT
    assert "frame 1 shows frame 0" in found.reasons


@pytest.mark.parametrize("byte", [0, 4095, 20000, 38015])
def test_one_wrong_byte_is_corrupt(byte):
    picture = bytearray(REFERENCES[1])
    picture[byte] ^= 1
    found = verdict(scenes.shared(frames=scenes.frames([REFERENCES[0], bytes(picture)])))
    assert found.verdict is Verdict.CORRUPT
    assert found.pixels.different == 1


def test_error_flag_and_short_frames_are_corrupt():
    flagged = scenes.frames(REFERENCES)
    flagged[1]["error_flag"] = True
    assert verdict(scenes.shared(frames=flagged)).verdict is Verdict.CORRUPT
    short = scenes.frames(REFERENCES)
    short[0]["bytesused"] = 38000
    assert verdict(scenes.shared(frames=short)).verdict is Verdict.CORRUPT


def test_missing_and_surplus_frames_are_corrupt():
    assert verdict(scenes.shared(frames=scenes.frames(REFERENCES[:1]))).verdict is Verdict.CORRUPT
    assert (
        verdict(scenes.shared(frames=scenes.frames([*REFERENCES, REFERENCES[0]]))).verdict is Verdict.CORRUPT
    )


def test_padding_behind_the_frame_does_not_count():
    padded = scenes.frames([picture + bytes(2944) for picture in REFERENCES])
    assert verdict(scenes.shared(frames=padded)).verdict is Verdict.ZERO_COPY


def test_unfinished_decoding():
    raw = scenes.shared(
        stage="decode", errno=errno.ETIMEDOUT, message="no frame", frames=scenes.frames(REFERENCES[:1])
    )
    assert verdict(raw).verdict is Verdict.INCONCLUSIVE
    raw["frames"][0]["data"] = bytes(38016)
    assert verdict(raw).verdict is Verdict.CORRUPT


@pytest.mark.parametrize(
    ("stage", "number", "wanted"),
    [
        ("probe", errno.ENODEV, Verdict.UNSUPPORTED),
        ("allocate", errno.ENODEV, Verdict.UNSUPPORTED),
        ("allocate", errno.ENOMEM, Verdict.INCONCLUSIVE),
        ("setup", errno.EINVAL, Verdict.INCONCLUSIVE),
        ("import", errno.EINVAL, Verdict.REFUSED),
        ("import", None, Verdict.INCONCLUSIVE),
    ],
)
def test_where_it_ended(stage, number, wanted):
    raw = scenes.shared(stage=stage, errno=number, message="why", frames=[])
    assert verdict(raw).verdict is wanted


def test_no_reference_no_verdict():
    assert verdict(scenes.shared(frames=[]), []).verdict is Verdict.INCONCLUSIVE
    blank = [bytes([CANARY]) * 38016]
    assert verdict(scenes.shared(frames=scenes.frames(blank)), blank).verdict is Verdict.INCONCLUSIVE


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("scene", [scenes.shared, scenes.own])
def test_each_missing_source_is_named(source, scene):
    whole = Evidence.from_raw(scene())
    found = judge(whole.without(source), REFERENCES)
    needless = {"attachments"} if whole.own else {"allocs"}
    if source in needless:
        assert found.verdict is Verdict.ZERO_COPY
    elif whole.own and source in ("buffer", "maps"):
        assert found.verdict is not Verdict.ZERO_COPY
    else:
        assert found.verdict is Verdict.INCONCLUSIVE
        assert found.reasons


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("attachments", "who is attached"),
        ("maps", "what the decoder mapped"),
        ("bounced", "whether pages bounced"),
        ("swiotlb_hiwater", "high-water mark"),
        ("faults", "whether the IOMMU faulted"),
        ("canary", "what the buffer held before"),
        ("buffer", "which dma-buf"),
    ],
)
def test_a_source_without_an_answer_is_asked_for_by_name(source, words):
    found = verdict(scenes.shared(**{source: None}))
    assert found.verdict is Verdict.INCONCLUSIVE
    assert words in found.reason


def test_another_decoders_buffer_is_not_the_decoders_own():
    assert verdict(scenes.own(allocator="other-decoder")).verdict is Verdict.COPIED


def test_sources_that_the_kernel_lacks_for_good():
    harmless = ["trace:vb2:vb2_buf_done", "trace:iommu:map", "trace:dma:dma_alloc_sgt"]
    assert verdict(scenes.shared(missing=harmless)).verdict is Verdict.ZERO_COPY
    for harmful in ("trace: 3 events lost", "vmm:trace", "debugfs:dma_buf/bufinfo"):
        assert verdict(scenes.shared(missing=[harmful])).verdict is Verdict.INCONCLUSIVE
    # What a lossy trace does not show may have happened: no verdict of copied from its silence.
    assert verdict(scenes.shared(maps=[], missing=["trace: 3 events lost"])).verdict is Verdict.INCONCLUSIVE


def test_mapping_must_be_of_this_buffer_and_whole():
    elsewhere = scenes.mapped([page + (64 << 20) for page in scenes.scattered()], iova=0x1000)
    assert verdict(scenes.shared(maps=[elsewhere])).verdict is Verdict.COPIED
    part = scenes.mapped(scenes.scattered(), iova=0x1000) | {"dma": [[0x1000, 4096]]}
    assert verdict(scenes.shared(maps=[part])).verdict is Verdict.INCONCLUSIVE
    other = scenes.mapped(scenes.scattered(), iova=0x1000) | {"device": "0000:00:02.0"}
    assert verdict(scenes.shared(maps=[other])).verdict is Verdict.COPIED


@pytest.mark.parametrize("source", SOURCES)
def test_a_field_that_was_not_sent_is_missing(source):
    raw = scenes.shared()
    found = Evidence.from_raw({key: value for key, value in raw.items() if key != source})
    assert found.missing == (f"evidence:{source}",)
    assert Evidence.from_raw(raw).missing == ()
    bare = Evidence.from_raw(raw).without(source)
    assert (getattr(bare, source), bare.missing) == (None, (f"evidence:{source}",))


def test_each_page_of_a_mapping_must_be_the_buffers():
    pages = scenes.scattered()
    mixed = scenes.mapped([*pages[:9], 5 * scenes.GIB], iova=0x1000)
    nowhere = scenes.mapped([], iova=0x1000)
    for event in (mixed, nowhere):
        found = verdict(scenes.shared(maps=[event]))
        assert (found.verdict, found.reason) == (
            Verdict.COPIED,
            "the decoder mapped other pages than the buffer's",
        )
    # Part of it, and the rest of something else, is not all of it; nor what the trace cut of that.
    part = scenes.mapped(pages, iova=0x1000) | {"dma": [[0x1000, 4096]]}
    for other in (mixed, mixed | {"truncated": True}):
        assert verdict(scenes.shared(maps=[part, other])).verdict is Verdict.INCONCLUSIVE
    assert verdict(scenes.shared(maps=[part | {"truncated": True}])).verdict is Verdict.ZERO_COPY
    unmapped = part | {"truncated": True, "dma": []}
    assert verdict(scenes.shared(maps=[unmapped])).verdict is Verdict.INCONCLUSIVE


def test_every_buffer_of_the_queue_must_be_mapped():
    [buffer], [event] = scenes.shared()["buffers"], scenes.shared()["maps"]
    elsewhere = scenes.mapped(scenes.scattered(3 * scenes.GIB), iova=0xF0000000)
    small = scenes.mapped(scenes.scattered(3 * scenes.GIB), iova=0xF0000000) | {"dma": [[0xF0000000, 38016]]}
    two = [buffer, buffer | {"inode": 14}]
    for maps in ([event], [event, event], [event, small], [event, elsewhere | {"device": "0000:00:02.0"}]):
        assert verdict(scenes.shared(buffers=two, maps=maps)).verdict is Verdict.INCONCLUSIVE, maps
    for maps in ([event, elsewhere], [elsewhere, event, event], [event, small | {"truncated": True}]):
        assert verdict(scenes.shared(buffers=two, maps=maps)).verdict is Verdict.ZERO_COPY, maps


def test_every_dma_buf_that_the_frame_is_in_must_be_mapped():
    luma, chroma = scenes.run_of_pages(), scenes.run_of_pages(3 * scenes.GIB)[:5]
    [buffer] = scenes.shared()["buffers"]
    raw = scenes.shared(
        buffers=[buffer, buffer | {"inode": 14, "size": 20480}], pages=luma + chroma, payload=12672
    )
    first, second = (scenes.mapped(luma, iova=0x10000), scenes.mapped(chroma))
    assert verdict(raw | {"maps": [first, second]}).verdict is Verdict.ZERO_COPY
    other = scenes.mapped([page + (64 << 20) for page in chroma])
    found = verdict(raw | {"maps": [first, other]})
    assert found.verdict is Verdict.INCONCLUSIVE
    assert "all pages that the frame is in" in found.reason
    cut = second | {"truncated": True, "dma": second["dma"][:2]}
    assert verdict(raw | {"maps": [first, cut]}).verdict is Verdict.ZERO_COPY  # the rest may be there


def test_the_decoders_own_buffer_that_it_is_given_back_is_imported():
    """An allocation in the trace is that of another queue then, as of the stream's."""
    found = verdict(scenes.own(exported=False))
    assert (found.verdict, found.reason) == (Verdict.COPIED, "the decoder was never attached to the buffer")
    raw = scenes.own(exported=False, attachments=[DEVICE], maps=scenes.shared()["maps"])
    assert verdict(raw).verdict is Verdict.ZERO_COPY
    assert verdict(raw | {"maps": []}).verdict is Verdict.COPIED
    assert verdict(scenes.own(exported=None)).verdict is Verdict.COPIED  # nobody said that it was not


def test_each_buffer_of_the_decoders_own_must_be_allocated():
    [allocation], buffer = scenes.own()["allocs"], scenes.own()["buffer"]
    two = [buffer, buffer | {"inode": 14}]
    assert verdict(scenes.own(buffers=[], allocs=[])).verdict is Verdict.INCONCLUSIVE
    for allocs in ([allocation], [allocation, allocation | {"size": 4096}]):
        assert verdict(scenes.own(buffers=two, allocs=allocs)).verdict is Verdict.INCONCLUSIVE
    assert verdict(scenes.own(buffers=two, allocs=[allocation] * 2)).verdict is Verdict.ZERO_COPY
    others = [allocation | {"device": "0000:00:02.0"}]
    assert verdict(scenes.own(allocs=others)).verdict is Verdict.INCONCLUSIVE


def test_broken_evidence_is_the_labs_fault():
    for change, where in (
        ({"stage": "elsewhere"}, "stage"),
        ({"bounced": "many"}, "bounced"),
        ({"frames": [{"index": 0}]}, r"frames\.0\.error_flag"),
        ({"maps": [{"nents": 1}]}, r"maps\.0\.device"),
    ):
        with pytest.raises(LabError, match=f"evidence is broken: {where}: "):
            Evidence.from_raw(scenes.shared(**change))


def test_plain_evidence_has_hashes_for_pixels():
    plain = Evidence.from_raw(scenes.shared()).plain()
    assert "data" not in plain["frames"][0]
    assert len(plain["frames"][0]["sha256"]) == 64
    assert plain["maps"][0]["dma"] == [[0xFFFF0000, 40960]]


@pytest.mark.parametrize(
    ("seen", "words"),
    [
        ([3, 4], "rose from 3 to 4 slots"),
        ([None, 0], "high-water mark"),
        ([0, None], "high-water mark"),
        (None, "high-water mark"),
    ],
)
def test_a_bounce_that_nobody_saw_shows_in_the_high_water_mark(seen, words):
    found = verdict(scenes.shared(swiotlb_hiwater=seen))
    assert found.verdict is Verdict.INCONCLUSIVE
    assert words in found.reason
    assert verdict(scenes.shared(swiotlb_hiwater=[4, 4])).verdict is Verdict.ZERO_COPY


def test_one_reference_that_proves_nothing_is_enough():
    for bad in (bytes([CANARY]) * 38016, b""):
        pictures = [REFERENCES[0], bad]
        found = verdict(scenes.shared(frames=scenes.frames(pictures)), pictures)
        assert found.verdict is Verdict.INCONCLUSIVE, len(bad)


def test_a_call_that_failed_after_all_frames_is_told():
    raw = scenes.shared(errno=errno.EIO, message="VIDIOC_DQBUF: EIO")
    for stage in ("decode", "done"):
        found = verdict(raw | {"stage": stage})
        assert found.verdict is Verdict.INCONCLUSIVE, stage
        assert "VIDIOC_DQBUF: EIO" in found.reason
    found = verdict(scenes.shared(stage="decode", frames=scenes.frames(REFERENCES[:1])))
    assert (found.verdict, found.reason) == (
        Verdict.INCONCLUSIVE,
        "decoding stopped after 1 of 2 frames (no error: )",
    )


def test_frames_of_several_sizes_want_room_for_the_largest():
    """Where nobody knows how large the buffers are."""
    pictures = [REFERENCES[0], REFERENCES[1][:4096]]
    raw = scenes.shared(frames=scenes.frames(pictures), buffers=[], pages=None)
    assert verdict(raw, pictures).verdict is Verdict.ZERO_COPY
    part = scenes.mapped(scenes.scattered(), iova=0x1000) | {"dma": [[0x1000, 36864]]}
    assert verdict(raw | {"maps": [part]}, pictures).verdict is Verdict.INCONCLUSIVE


def test_of_the_decoders_own_nobody_asks_who_is_attached():
    assert verdict(scenes.own(missing=["debugfs:dma_buf/bufinfo"])).verdict is Verdict.ZERO_COPY
    sg = scenes.own(allocs=None, maps=[scenes.mapped(scenes.scattered(), iova=0x1000)])
    assert verdict(sg | {"missing": ["evidence:allocs"]}).verdict is Verdict.INCONCLUSIVE


WRONG = bytes(38016)


@pytest.mark.parametrize(
    ("changes", "reasons"),
    [
        (
            {"frames": scenes.frames([REFERENCES[0], REFERENCES[0]]), "canary": None},
            ["decoder reported DONE, 38016 of 76032 bytes differ", "frame 1 shows frame 0"],
        ),
        (
            {"frames": [frame | {"error_flag": True} for frame in scenes.frames(REFERENCES)]},
            ["the decoder marked 2 of 2 frames as bad"],
        ),
        ({"frames": scenes.frames(REFERENCES[:1])}, ["1 frames came, 2 were sent"]),
        (
            {"frames": [frame | {"bytesused": 9} for frame in scenes.frames(REFERENCES)]},
            ["frame 0 is shorter than sent, or out of order"],
        ),
        (
            {"frames": [frame | {"bytesused": 9} for frame in scenes.frames(REFERENCES)], "faults": None},
            ["frame 0 is shorter than sent, or out of order", "whether the IOMMU faulted is not known"],
        ),
        (
            {
                "frames": [frame | {"error_flag": True} for frame in scenes.frames([WRONG, REFERENCES[1]])],
                "faults": 2,
                "fault_lines": ["event 0x10"],
            },
            [
                "2 IOMMU faults (event 0x10); decoder reported ERROR, 37865 of 76032 bytes differ",
                "decoder reported ERROR, 37865 of 76032 bytes differ",
                "0 of them still hold the canary",
                "the decoder marked 2 of 2 frames as bad",
            ],
        ),
    ],
)
def test_what_is_wrong_with_frames_is_said_and_nothing_else(changes, reasons):
    assert list(verdict(scenes.shared(**changes)).reasons) == reasons


def test_what_proves_it_is_said():
    exact = "all 76032 bytes of 2 frames are right"
    assert list(verdict(scenes.shared()).reasons) == [
        f"{exact}; the decoder is attached to inode 12",
        "10 pages or runs mapped as 1 over the buffer's pages",
        "nothing bounced, no fault",
    ]
    assert "10 pages or runs mapped as 1" in verdict(scenes.shared(pages=None)).reasons
    assert list(verdict(scenes.own()).reasons) == [
        f"{exact}, in the decoder's own allocation",
        "nothing bounced, no fault",
    ]
    assert verdict(scenes.shared(tolerance=2)).reason.startswith(f"{exact} within 2;")


def where(**changes):
    return verdict(scenes.shared(**changes)).pages


def test_where_the_pages_are_and_whether_in_one_run():
    high, run = scenes.scattered(5 * scenes.GIB), scenes.run_of_pages()
    unknown = scenes.shared()["buffer"] | {"runs": None}
    one = unknown | {"runs": 1}
    found = where(pages=high, buffer=unknown, buffers=[unknown])
    assert (found.contiguous, found.lowest, found.highest) == (False, high[0], high[-1])
    assert where(pages=run, buffer=unknown, buffers=[unknown]).contiguous is True
    assert where(pages=run, buffer=unknown, buffers=[]).contiguous is True
    assert where(pages=[*run, run[-1] + 8192], buffer=unknown, buffers=[]).contiguous is False
    assert where(pages=high, buffer=one, buffers=[]).contiguous is True
    assert where(pages=high, buffer=one, buffers=[one]).contiguous is True  # the allocator counted
    assert where(pages=run, buffers=[one, unknown]).contiguous is None
    assert where(pages=run, buffers=[one, one]).contiguous is True
    assert where(pages=run, buffers=[one, unknown | {"runs": 2}, unknown]).contiguous is False
    # What the importer mapped last tells it, too; but not of the decoder's own, which it need not map.
    maps = [scenes.mapped(scenes.scattered()), scenes.mapped(high)]
    assert where(pages=None, maps=maps).lowest == high[0]
    assert where(pages=run, maps=maps).lowest == run[0]
    assert where(pages=None, maps=[maps[1] | {"truncated": True}]) is None
    assert where(pages=None, buffer=None, buffers=[], maps=maps).contiguous is None
    assert verdict(scenes.own(maps=maps)).pages is None


small = [bytes([5] * 48), bytes([9] * 48)]
pictures = st.sampled_from([small[0], small[1], bytes([CANARY] * 48), bytes(48), b""])
devices = st.sampled_from([DEVICE, "0000:00:02.0"])
pages = st.lists(st.sampled_from([0x80000000 + 4096 * i for i in range(4)]), max_size=4)
events = st.fixed_dictionaries(
    {
        "device": devices,
        "nents": st.integers(0, 3),
        "ents": st.integers(0, 3),
        "phys": pages,
        "dma": st.lists(st.tuples(st.integers(0, 1 << 32), st.sampled_from([0, 16, 48, 4096])), max_size=3),
        "truncated": st.booleans(),
    }
)
buffers = st.fixed_dictionaries(
    {
        "exporter": st.sampled_from(["udmabuf", "videobuf2_dma_contig"]),
        "inode": st.integers(1, 3),
        "size": st.just(4096),
        "runs": st.none() | st.integers(1, 3),
    }
)
counts = st.none() | st.integers(0, 3)
raw_evidence = st.fixed_dictionaries(
    {
        "stage": st.sampled_from(["probe", "allocate", "setup", "import", "decode", "done", "done", "done"]),
        "errno": st.none() | st.integers(0, 140),
        "message": st.sampled_from(["", "why"]),
        "importer": st.just(DEVICE),
        "allocator": st.sampled_from(["decoder-mmap", "udmabuf-4k"]),
        "frames": st.just(scenes.frames(small)) | st.lists(pictures, max_size=3).map(scenes.frames),
        "buffer": st.none() | buffers,
        "buffers": st.lists(buffers, max_size=2),
        "pages": st.none() | pages,
        "attachments": st.none() | st.lists(devices, max_size=2),
        "maps": st.none() | st.lists(events, max_size=3),
        "allocs": st.none()
        | st.lists(st.fixed_dictionaries({"device": devices, "size": st.sampled_from([16, 48])})),
        "bounced": counts,
        "swiotlb_hiwater": st.none() | st.tuples(counts, counts),
        "faults": counts,
        "copies": st.none() | st.lists(st.just("TRANSFER_TO_HOST_2D"), max_size=2),
        "canary": st.none() | st.integers(0, 255),
        "exported": st.none() | st.booleans(),
        "missing": st.lists(
            st.sampled_from(["trace:iommu:map", "debugfs:swiotlb", "trace: 3 events lost"]), max_size=2
        ),
    }
)
# Most arbitrary evidence is far from zero-copy: start near it as well, so that the properties bite.
good = st.sampled_from(
    [
        scenes.shared(frames=scenes.frames(small)),
        scenes.own(frames=scenes.frames(small)),
        scenes.control(frames=scenes.frames(small)),
    ]
)
near = st.tuples(good, raw_evidence, st.sets(st.sampled_from(SOURCES), max_size=2)).map(
    lambda parts: parts[0] | {name: parts[1][name] for name in parts[2]}
)
any_evidence = raw_evidence | near


@given(any_evidence, st.lists(pictures, max_size=3))
def test_there_is_always_a_verdict_and_a_reason(raw, references):
    found = verdict(raw, references)
    assert found.reasons
    assert all(reason and "\n" not in reason for reason in found.reasons)


@given(any_evidence, st.sampled_from(SOURCES))
def test_removing_evidence_never_makes_zero_copy(raw, source):
    whole = Evidence.from_raw(raw)
    assume(judge(whole, small).verdict is not Verdict.ZERO_COPY)
    assert judge(whole.without(source), small).verdict is not Verdict.ZERO_COPY


@given(any_evidence, st.sampled_from([*SOURCES, "frames"]))
def test_an_unsent_field_never_makes_zero_copy(raw, name):
    assume(verdict(raw, small).verdict is not Verdict.ZERO_COPY)
    assert (
        verdict({key: value for key, value in raw.items() if key != name}, small).verdict
        is not Verdict.ZERO_COPY
    )


SIGNS = {
    "bounced": {"bounced": 1},
    "copies": {"copies": ["TRANSFER_TO_HOST_2D"]},
    "not attached": {"attachments": []},
    "not mapped": {"maps": []},
    "other pages": {"pages": [0x1234000]},
    "high-water": {"swiotlb_hiwater": [3, 4]},
    "fault": {"faults": 1},
    "wrong pixels": {"frames": scenes.frames([small[0], bytes([CANARY] * 48)])},
    "error flag": {"frames": [frame | {"error_flag": True} for frame in scenes.frames(small)]},
}


@given(any_evidence, st.sampled_from(list(SIGNS)))
def test_a_sign_of_a_copy_never_leaves_zero_copy(raw, sign):
    changed = raw | SIGNS[sign]
    own = Evidence.from_raw(changed).own
    assume(not (own and sign in ("not attached", "not mapped", "other pages")))
    assert verdict(changed, small).verdict is not Verdict.ZERO_COPY


def test_properties_start_from_zero_copy():
    for scene in (scenes.shared, scenes.own):
        assert verdict(scene(frames=scenes.frames(small)), small).verdict is Verdict.ZERO_COPY
