"""Evidence of sharing paths to verdict and outcome: scenes, and properties over arbitrary evidence."""

import errno

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from lab.base.errors import LabError
from lab.base.words import IommuMode, Verdict
from lab.sharing import PATHS, Evidence, Standing, across, ended, judge, settle_path
from tests.sharing import crossings, scenes
from tests.sharing.crossings import BOTH, LIFTED, TRANSFER, guest_blob
from tests.sharing.scenes import CANARY, REFERENCES, SMALL, WIDE
from tests.sharing.test_paths import HUGE_VMM, VMM
from tests.sharing.test_verdict import any_evidence, small

ON, OFF = IommuMode.TRANSLATED, IommuMode.OFF


def verdict(raw, references=REFERENCES):
    return judge(Evidence.from_raw(raw), references)


def outcome(raw, mode=ON, vmm=VMM, board=SMALL):
    return settle_path(verdict(raw), PATHS[raw["path"]], WIDE, board, vmm, mode)


def test_a_guests_blob_is_zero_copy_and_says_why():
    found = verdict(guest_blob())
    assert found.verdict is Verdict.ZERO_COPY, found.reasons
    assert "the VMM was listened to and obeyed no transfer" in found.reasons
    assert "10 pages of guest RAM, each found and none twice" in found.reasons
    assert "words written on either side were read on the other" in found.reasons
    assert "the VMM's screendump shows the frame" in found.reasons
    assert outcome(guest_blob()).passed


def test_the_pages_of_each_of_several_buffers_have_to_be_found():
    raw = scenes.shared(
        pages=None,
        buffers=[scenes.shared()["buffer"] | {"inode": inode} for inode in (11, 12, 13)],
        maps=[
            scenes.mapped(scenes.scattered((2 + at) * scenes.GIB), iova=0xFFFF0000 - at * 0x10000)
            for at in range(3)
        ],
    )
    every = [4096 * at for at in range(30)]
    found = verdict(guest_blob(raw=raw, guest_pages=every))
    assert found.verdict is Verdict.ZERO_COPY, found.reasons
    for fewer, words in ((every[:20], "had 122880 bytes to write to"), ([*every[:29], 0], "found twice")):
        found = verdict(guest_blob(raw=raw, guest_pages=fewer))
        assert (found.verdict, words in found.reason) == (Verdict.INCONCLUSIVE, True), found.reasons


@pytest.mark.parametrize("raw", [crossings.gpu(), crossings.usb()], ids=["gpu", "usb"])
def test_other_consumers_are_zero_copy(raw):
    assert verdict(raw).verdict is Verdict.ZERO_COPY, verdict(raw).reasons
    assert not any("VMM" in reason or "either side" in reason for reason in verdict(raw).reasons)
    assert any(reason.startswith("read by ") for reason in verdict(raw).reasons)
    assert outcome(raw).passed


@pytest.mark.parametrize(
    ("raw", "wanted", "words"),
    [
        (crossings.copied(), Verdict.COPIED, "1 copy commands, first virtio_gpu_cmd_res_xfer_toh_2d"),
        (crossings.wrong_buffer(), Verdict.CORRUPT, "76032 bytes differ"),
        (crossings.untraced(), Verdict.INCONCLUSIVE, "whether the VMM copied, for nobody listened"),
    ],
    ids=["guest-copied", "wrong-buffer", "untraced"],
)
def test_controls_come_out_as_they_must(raw, wanted, words):
    found = verdict(raw)
    assert found.verdict is wanted
    assert words in found.reason
    assert outcome(raw).passed
    as_if_it_were_the_path = verdict(raw | {"path": "guest-blob"})
    assert as_if_it_were_the_path.verdict is not Verdict.ZERO_COPY


def test_the_wrong_buffer_is_told_by_its_identity():
    reasons = verdict(guest_blob("wrong-buffer", dmabuf=LIFTED | {"inode": 99})).reasons
    assert "the VMM holds inode 99 for the resource, the decoder wrote inode 12" in reasons


def test_refusals_and_what_is_absent_pass_where_they_are_due():
    found = outcome(crossings.refused(), OFF)
    assert found.passed
    assert "contiguous chunk is too small" in found.reason
    assert outcome(crossings.refused(), ON).standing is Standing.UNEXPECTED
    absent = outcome(crossings.no_uuid())
    assert (absent.passed, absent.verdict) == (True, Verdict.UNSUPPORTED)
    assert "offers no RESOURCE_UUID" in absent.reason
    # A capability that was said to be absent and yet works is news.
    works = guest_blob("resource-uuid")
    assert outcome(works).standing is Standing.UNEXPECTED


def test_o_direct_on_the_dma_buf_itself():
    raw = ended("usb-dmabuf", "import", errno.EFAULT, "write: Bad address", importer=crossings.USB)
    found = verdict(raw)
    assert (found.verdict, found.errno) == (Verdict.REFUSED, errno.EFAULT)
    for mode in IommuMode:
        assert outcome(raw, mode).passed
    assert not outcome(raw | {"errno": errno.EINVAL}).passed


def test_scatter_that_did_not_happen_is_untested():
    """A guest's blob on hugetlb pages may come out contiguous by luck: no pass of the refusal, no failure."""
    maps = [scenes.mapped(scenes.run_of_pages())]
    one = {"exporter": "udmabuf", "inode": 12, "size": 40960, "runs": 1}
    lucky = guest_blob(raw=scenes.shared(pages=None, maps=maps, buffer=one, buffers=[one]))
    found = outcome(lucky, OFF, HUGE_VMM)
    assert (found.standing, found.verdict) == (Standing.UNTESTED, Verdict.INCONCLUSIVE)
    assert "by chance zero-copy: one physical run within 32 bits; refused was to be tested" in found.reason
    contig = lucky | {"path": "guest-blob-contig"}
    assert outcome(contig, OFF, HUGE_VMM).passed
    # The guest promised one run, the host did not: acceptance is luck there, too.
    assert outcome(contig, OFF, VMM).standing is Standing.UNTESTED


def test_pages_of_a_decoder_in_the_guest_are_the_guests():
    raw = across(scenes.own(), "vfio-decoder", frames=REFERENCES, copies=[], canaries=BOTH)
    assert outcome(raw).passed
    found = outcome(scenes.refused() | {"path": "vfio-decoder"})
    assert found.standing is Standing.UNEXPECTED


@pytest.mark.parametrize(
    ("found", "words"),
    [
        ({"dmabuf": LIFTED | {"inode": 99}}, "the VMM holds inode 99"),
        ({"canaries": BOTH | {"host_to_guest": False}}, "what the host wrote into the buffer does not show"),
        ({"canaries": BOTH | {"guest_to_host": False}}, "what the guest wrote into the buffer does not show"),
        ({"copies": [TRANSFER]}, "1 copy commands"),
    ],
)
def test_right_pixels_from_other_memory_are_a_copy(found, words):
    got = verdict(guest_blob(**found))
    assert got.verdict is Verdict.COPIED
    assert words in got.reason


def test_a_screen_that_shows_something_else_is_corrupt():
    assert verdict(guest_blob(screen=False)).verdict is Verdict.CORRUPT
    assert verdict(guest_blob(screen=None)).verdict is Verdict.ZERO_COPY


@pytest.mark.parametrize(
    ("pages", "words"),
    [
        (None, "which pages of guest RAM"),
        ([*crossings.guest_pages()[:9], None], "1 of 10 pages that the decoder wrote were not found"),
        ([*crossings.guest_pages()[:9], crossings.guest_pages()[0]], "found twice"),
        ([*crossings.guest_pages()[:9], crossings.guest_pages()[0] + 16], "found twice"),
        (crossings.guest_pages()[:9], "9 pages of guest RAM were found, the decoder had 40960 bytes"),
        ([], "0 pages of guest RAM"),
    ],
)
def test_guest_pages_have_to_be_known_whole_and_distinct(pages, words):
    found = verdict(guest_blob(guest_pages=pages))
    assert found.verdict is Verdict.INCONCLUSIVE
    assert words in found.reason


def test_ten_pages_are_enough_for_ten_pages():
    assert verdict(guest_blob() | {"payload": 40960}).verdict is Verdict.ZERO_COPY
    larger = scenes.shared()["buffer"] | {"size": 40961}
    assert verdict(guest_blob() | {"buffers": [larger]}).verdict is Verdict.INCONCLUSIVE
    nobody_said = guest_blob() | {"buffers": []}
    assert verdict(nobody_said | {"payload": 40960}).verdict is Verdict.ZERO_COPY
    reasons = verdict(nobody_said | {"payload": 40961}).reasons
    assert "10 pages of guest RAM were found, the decoder had 40961 bytes to write to" in reasons
    assert verdict(crossings.usb() | {"payload": 40960}).verdict is Verdict.ZERO_COPY


@pytest.mark.parametrize("name", [*PATHS])
def test_each_source_of_a_path_is_needed(name):
    """Everything is right but for one source that was not there: inconclusive, and it is named."""
    path = PATHS[name]
    raw = crossings.usb() if "consumer" in path.sources else guest_blob(raw=scenes.shared())
    raw = raw | {"path": name}
    assert verdict(raw).verdict is Verdict.ZERO_COPY, verdict(raw).reasons
    for source in path.sources:
        bare = verdict(raw | {source: None})
        assert bare.verdict is Verdict.INCONCLUSIVE, source
        assert "not known" in bare.reason
        unsent = verdict({key: value for key, value in raw.items() if key != source})
        assert unsent.verdict is Verdict.INCONCLUSIVE, source
        assert f"missing: evidence:{source}" in unsent.reasons


@pytest.mark.parametrize("side", ["host_to_guest", "guest_to_host"])
def test_both_canaries_are_needed(side):
    assert verdict(guest_blob(canaries=BOTH | {side: None})).verdict is Verdict.INCONCLUSIVE


@pytest.mark.parametrize(
    ("changes", "wanted"),
    [
        ({"maps": []}, Verdict.INCONCLUSIVE),
        ({"maps": None}, Verdict.INCONCLUSIVE),
        ({"device": None}, Verdict.INCONCLUSIVE),
        ({"bounced": None}, Verdict.INCONCLUSIVE),
        ({"bounced": 3}, Verdict.COPIED),
        ({"inode": 99}, Verdict.COPIED),
        ({"maps": [scenes.mapped([5 << 30], iova=1) | {"device": crossings.USB}]}, Verdict.COPIED),
        ({"maps": [scenes.mapped(scenes.scattered(), iova=1)]}, Verdict.INCONCLUSIVE),
    ],
    ids=str,
)
def test_a_consumer_has_to_be_tied_to_the_buffer(changes, wanted):
    assert verdict(crossings.usb(**changes)).verdict is wanted


def test_a_consumer_may_take_a_frame_in_several_requests():
    pages = scenes.scattered()
    parts = [
        scenes.mapped(part) | {"device": crossings.USB, "dma": [[page, 4096] for page in part]}
        for part in (pages[:4], pages[4:])
    ]
    assert verdict(crossings.usb(maps=parts)).verdict is Verdict.ZERO_COPY
    # Half of it twice is half of it.
    assert verdict(crossings.usb(maps=[parts[1], parts[1]])).verdict is Verdict.INCONCLUSIVE
    assert verdict(crossings.usb(maps=parts[:1])).verdict is Verdict.INCONCLUSIVE


def test_a_consumer_may_map_other_memory_beside_the_frame():
    [event] = crossings.usb()["consumer"]["maps"]
    command = scenes.mapped([5 << 30]) | {"device": crossings.USB}
    assert verdict(crossings.usb(maps=[command, event])).verdict is Verdict.ZERO_COPY


def test_mappings_of_a_consumer_say_nothing_where_nobody_knows_the_buffers_pages():
    consumer = crossings.usb()["consumer"] | {"name": "GPU", "device": crossings.USB}
    found = verdict(across(scenes.shared(), "gpu-import", frames=REFERENCES, consumer=consumer))
    assert found.verdict is Verdict.ZERO_COPY
    found = verdict(across(scenes.shared(), "gpu-import", frames=REFERENCES, consumer=consumer, pages=None))
    assert (found.verdict, found.reason) == (Verdict.INCONCLUSIVE, "not known: which memory GPU read")


def test_a_buffer_that_nobody_knows_is_nobodys():
    for raw in (crossings.gpu(), guest_blob()):
        found = verdict(raw | {"buffer": None})
        assert found.verdict is not Verdict.ZERO_COPY
        assert not any("inode" in reason for reason in found.reasons)


def test_gpu_that_imported_another_buffer():
    assert verdict(crossings.gpu(consumer={"name": "GPU", "inode": 1})).verdict is Verdict.COPIED
    assert verdict(crossings.gpu(consumer={"name": "GPU"})).verdict is Verdict.INCONCLUSIVE


def test_pixels_within_a_stated_tolerance():
    near = [bytes(min(value + 1, 255) for value in picture) for picture in REFERENCES]
    raw = across(scenes.own(), "gpu-import", frames=near, consumer={"name": "GPU", "inode": 13})
    assert verdict(raw).verdict is Verdict.CORRUPT
    found = verdict(raw | {"tolerance": 1})
    assert found.verdict is Verdict.ZERO_COPY
    assert "within 1" in found.reason
    far = bytearray(near[0])
    far[100] += 1
    raw["frames"][0]["data"] = bytes(far)
    assert verdict(raw | {"tolerance": 1}).pixels.different == 1
    with pytest.raises(LabError, match="tolerance"):
        Evidence.from_raw(raw | {"tolerance": 200})


def test_a_picture_near_the_canary_proves_nothing():
    grey = [bytes([CANARY + 1]) * 38016] * 2
    raw = guest_blob(raw=scenes.shared(pages=None, frames=scenes.frames(grey)))
    assert verdict(raw, grey).verdict is Verdict.ZERO_COPY
    assert verdict(raw | {"tolerance": 1}, grey).verdict is Verdict.INCONCLUSIVE


def test_a_consumers_layout_may_be_larger_than_what_the_decoder_writes():
    """RGBA pixels of a frame: 101376 bytes, though the decoder maps and writes ten pages."""
    wide = [bytes(4 * 176 * 144 - 9) + bytes(range(9)) for _ in REFERENCES]
    consumer = {"name": "GPU", "inode": 12}
    raw = across(scenes.shared(), "gpu-import", frames=wide, converted=True, consumer=consumer)
    assert raw["payload"] == 38016
    assert verdict(raw, wide).verdict is Verdict.ZERO_COPY
    unconverted = across(scenes.shared(), "gpu-import", frames=wide, consumer=consumer)
    assert verdict(unconverted, wide).verdict is Verdict.CORRUPT


def test_unknown_paths_and_broken_evidence_are_the_labs_fault():
    for change in ({"path": "by-post"}, {"canaries": {"host_to_guest": 1}}, {"guest_pages": ["x"]}):
        with pytest.raises(LabError, match="evidence"):
            Evidence.from_raw(guest_blob() | change)


def test_a_boards_own_rows_are_judged_as_before():
    stray = {"dmabuf": LIFTED | {"inode": 9}, "guest_pages": [None], "copies": None}
    assert verdict(scenes.shared(**stray)).verdict is Verdict.ZERO_COPY


lift = st.none() | st.fixed_dictionaries(
    {"exporter": st.just("udmabuf"), "inode": st.integers(11, 13), "size": st.just(4096)}
)
seen = st.none() | st.booleans()
crossing = st.fixed_dictionaries(
    {
        "path": st.sampled_from([*PATHS]),
        "copies": st.none() | st.lists(st.just(TRANSFER), max_size=1),
        "dmabuf": lift,
        "guest_pages": st.none() | st.lists(st.none() | st.sampled_from([0, 4096]), max_size=2),
        "canaries": st.none() | st.fixed_dictionaries({"host_to_guest": seen, "guest_to_host": seen}),
        "screen": seen,
        "consumer": st.none()
        | st.fixed_dictionaries(
            {
                "name": st.just("GPU"),
                "inode": st.none() | st.integers(11, 13),
                "device": st.none() | st.just(crossings.USB),
                "maps": st.none() | st.just([]),
                "bounced": st.none() | st.integers(0, 1),
            }
        ),
    }
)
right = {
    "copies": [],
    "dmabuf": LIFTED,
    "guest_pages": crossings.guest_pages(),
    "canaries": BOTH,
    "screen": None,
}
right |= {"consumer": {"name": "GPU", "inode": 12}, "pages": scenes.scattered()}
good = scenes.shared(frames=scenes.frames(small)) | right
near = st.tuples(crossing, st.sets(st.sampled_from(sorted(right.keys() - {"pages"})), max_size=2)).map(
    lambda parts: good | {"path": parts[0]["path"]} | {name: parts[0][name] for name in parts[1]}
)
any_crossing = near | st.tuples(any_evidence, crossing).map(lambda parts: parts[0] | parts[1])


def test_properties_start_from_zero_copy():
    for name in PATHS:
        assert verdict(good | {"path": name}, small).verdict is Verdict.ZERO_COPY, name


@given(any_crossing)
def test_there_is_always_a_verdict_and_a_reason(raw):
    found = verdict(raw, small)
    assert found.reasons
    assert all(reason and "\n" not in reason for reason in found.reasons)


@given(any_crossing, st.data())
def test_removing_evidence_never_makes_zero_copy(raw, data):
    whole = Evidence.from_raw(raw)
    assume(judge(whole, small).verdict is not Verdict.ZERO_COPY)
    source = data.draw(st.sampled_from(PATHS[raw["path"]].sources))
    assert judge(whole.without(source), small).verdict is not Verdict.ZERO_COPY
    bare = {key: value for key, value in raw.items() if key != source}
    assert verdict(bare, small).verdict is not Verdict.ZERO_COPY


SIGNS = {
    "transfer": {"copies": [TRANSFER]},
    "guest does not see": {"canaries": BOTH | {"host_to_guest": False}},
    "host does not see": {"canaries": BOTH | {"guest_to_host": False}},
    "page not the guest's": {"guest_pages": [0, None]},
    "page twice": {"guest_pages": [0, 0]},
    "other import": {"consumer": {"name": "GPU", "inode": 4711}},
    "other dma-buf": {"dmabuf": LIFTED | {"inode": 4711}},
    "screen": {"screen": False},
}


@given(any_crossing, st.sampled_from(list(SIGNS)))
def test_a_sign_of_a_copy_never_leaves_zero_copy(raw, sign):
    (name,) = SIGNS[sign]
    always = {"copies", "canaries", "consumer", "screen"}  # others count where the path has such a source
    assume(name in always or name in PATHS[raw["path"]].sources)
    changed = raw | SIGNS[sign]
    assume(sign != "other dma-buf" or changed["buffer"])
    assume(sign != "other import" or changed["buffer"])
    assert verdict(changed, small).verdict is not Verdict.ZERO_COPY


@given(any_crossing, st.sampled_from([ON, OFF]))
def test_only_the_expected_verdict_passes(raw, mode):
    judgement = verdict(raw, small)
    found = settle_path(judgement, PATHS[raw["path"]], WIDE, SMALL, VMM, mode)
    if found.passed:
        assert judgement.verdict is found.expectation.verdict is found.verdict
    if found.standing is Standing.UNTESTED:
        assert found.verdict is Verdict.INCONCLUSIVE
