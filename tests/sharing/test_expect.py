"""The constraint model: the measured truth table, and what holds for every combination."""

import errno

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.base.words import IommuMode, Verdict
from lab.sharing import (
    ALLOCATORS,
    PATHS,
    BoardFacts,
    Capability,
    DecoderFacts,
    Layout,
    Reach,
    VmmFacts,
    expected,
    expected_path,
)
from tests.sharing.scenes import BARE, GIB, LARGE, MODES, NARROW, SMALL, WIDE

OK, NO, LOST = Verdict.ZERO_COPY, Verdict.REFUSED, Verdict.CORRUPT
COPY, NEVER = Verdict.COPIED, Verdict.UNSUPPORTED
UNTRANSLATED = [IommuMode.PASSTHROUGH, IommuMode.OFF]

# facts/virtual-board.md, "Truth table, measured", and the lines below it (heaps, 28-bit mask).
TRUTH = {
    #                   translated | 32 bit, 3 GB | 32 bit, 5 GB | 28 bit untranslated
    "decoder-mmap": (OK, OK, OK, NEVER),
    "udmabuf-4k": (OK, NO, LOST, NEVER),
    "udmabuf-2m": (OK, OK, LOST, NEVER),
    "virtio-gpu-dumb": (OK, NO, LOST, NEVER),
    "vgem": (OK, NO, LOST, NEVER),
    "heap-system": (OK, NO, COPY, NEVER),
    "heap-cma": (OK, OK, OK, NEVER),
    "copied": (COPY, COPY, COPY, NEVER),
}

decoders = st.builds(
    DecoderFacts,
    name=st.just("d"),
    dma_mask_bits=st.integers(12, 64),
    contiguous=st.booleans(),
    behind_iommu=st.booleans(),
    device_bits=st.none() | st.integers(12, 64),
)
ranges = st.builds(
    lambda start, size: (start << 20, (start + size) << 20), st.integers(0, 1 << 20), st.integers(1, 1 << 16)
)
boards = st.builds(
    BoardFacts,
    ram=st.lists(ranges, min_size=1, max_size=3).map(tuple),
    swiotlb=st.booleans(),
    shmem_huge=st.booleans(),
    heaps=st.none() | st.just(()) | st.just(("system", "cma")),
    zone_dma_bits=st.sampled_from([24, 30, 32]),
)
allocators = st.sampled_from(list(ALLOCATORS.values()))
modes = st.sampled_from(MODES)
sizes = st.integers(1, 16 << 20)
layouts = st.none() | st.builds(Layout, st.booleans(), st.sampled_from(list(Reach)))


def test_table_names_every_allocator():
    assert set(TRUTH) == set(ALLOCATORS)


@pytest.mark.parametrize("name", ALLOCATORS)
def test_virt_smmu_translated(name):
    for mode in (IommuMode.TRANSLATED, IommuMode.LAZY):
        for decoder in (WIDE, NARROW):
            for board in (SMALL, LARGE):
                assert expected(ALLOCATORS[name], decoder, board, mode).verdict is TRUTH[name][0]


@pytest.mark.parametrize("name", ALLOCATORS)
@pytest.mark.parametrize("mode", UNTRANSLATED)
def test_virt_smmu_untranslated(name, mode):
    assert expected(ALLOCATORS[name], WIDE, SMALL, mode).verdict is TRUTH[name][1]
    assert expected(ALLOCATORS[name], NARROW, SMALL, mode).verdict is TRUTH[name][3]


@pytest.mark.parametrize("name", ALLOCATORS)
def test_virt_cma_and_virt_dma32(name):
    assert expected(ALLOCATORS[name], BARE, SMALL, IommuMode.OFF).verdict is TRUTH[name][1]
    assert expected(ALLOCATORS[name], BARE, LARGE, IommuMode.OFF).verdict is TRUTH[name][2]


def test_error_numbers_are_those_of_the_kernel():
    scattered = ALLOCATORS["vgem"]
    assert expected(scattered, WIDE, SMALL, IommuMode.OFF).errno == errno.EFAULT
    assert expected(scattered, NARROW, SMALL, IommuMode.OFF).errno == errno.EIO
    noforce = BoardFacts(ram=LARGE.ram, swiotlb=False)
    assert expected(scattered, WIDE, noforce, IommuMode.OFF).errno == errno.EINVAL


def test_huge_pages_help_up_to_their_size():
    huge = ALLOCATORS["udmabuf-2m"]
    assert expected(huge, WIDE, SMALL, IommuMode.OFF, size=2 << 20).verdict is OK
    assert expected(huge, WIDE, SMALL, IommuMode.OFF, size=(2 << 20) + 1).verdict is NO


def test_forced_huge_shmem_makes_dumb_buffers_contiguous():
    board = BoardFacts(ram=SMALL.ram, shmem_huge=True)
    assert expected(ALLOCATORS["virtio-gpu-dumb"], WIDE, board, IommuMode.OFF).verdict is OK


def test_small_mask_is_enough_where_it_reaches_all_ram():
    board = BoardFacts(ram=((GIB, 2 * GIB),))
    assert expected(ALLOCATORS["decoder-mmap"], DecoderFacts("d", 31), board, IommuMode.OFF).verdict is OK
    # dma_direct_supported asks for all RAM or the DMA zone, so 31 bits do not do for 3 GB from 1 GiB.
    assert expected(ALLOCATORS["decoder-mmap"], DecoderFacts("d", 31), SMALL, IommuMode.OFF).verdict is NEVER


def test_mask_mismatch():
    wrong = DecoderFacts("d", 32, device_bits=28)
    assert expected(ALLOCATORS["decoder-mmap"], wrong, SMALL, IommuMode.TRANSLATED).verdict is Verdict.FAULTED
    assert expected(ALLOCATORS["decoder-mmap"], wrong, SMALL, IommuMode.OFF).verdict is LOST


def test_pages_on_both_sides_of_the_mask_are_refused():
    # Those within keep their addresses, those beyond get bounce slots: no run, however they lie.
    for contiguous in (True, False):
        layout = Layout(contiguous, Reach.ACROSS)
        found = expected(ALLOCATORS["heap-system"], WIDE, LARGE, IommuMode.OFF, layout=layout)
        assert (found.verdict, found.errno) == (NO, errno.EFAULT)


def test_missing_heap_is_named():
    board = BoardFacts(ram=SMALL.ram, heaps=("system",))
    found = expected(ALLOCATORS["heap-cma"], WIDE, board, IommuMode.TRANSLATED)
    assert found.verdict is NEVER
    assert "/dev/dma_heap/cma" in found.reason


def test_facts_from_the_agent():
    raw = {
        "ram": [[GIB, 4 * GIB]],
        "swiotlb_bytes": 0,
        "heaps": ["system"],
        "shmem_thp": "force",
        "cmdline": "quiet",
    }
    assert BoardFacts.from_raw(raw) == BoardFacts(
        ram=((GIB, 4 * GIB),), swiotlb=False, shmem_huge=True, heaps=("system",)
    )
    assert not BoardFacts.from_raw({"ram": raw["ram"], "cmdline": "a swiotlb=noforce"}).swiotlb
    assert BoardFacts.from_raw({"ram": raw["ram"], "cmdline": "a swiotlb=65536"}).swiotlb
    assert BoardFacts.from_raw({"ram": raw["ram"], "swiotlb_bytes": 4096}).swiotlb
    with pytest.raises(ValueError, match="no RAM"):
        BoardFacts.from_raw({"ram": []})


@given(allocators, decoders, boards, modes, sizes, layouts)
def test_every_question_has_an_answer(allocator, decoder, board, mode, size, layout):
    found = expected(allocator, decoder, board, mode, size=size, layout=layout)
    assert found.verdict is not Verdict.INCONCLUSIVE
    assert 10 < len(found.reason) < 100
    assert "\n" not in found.reason
    assert (found.errno is not None) == (found.verdict in (Verdict.REFUSED, Verdict.UNSUPPORTED))


@given(allocators, decoders, boards, modes, sizes, layouts)
def test_translation_never_refuses(allocator, decoder, board, mode, size, layout):
    found = expected(allocator, decoder, board, mode, size=size, layout=layout)
    if decoder.behind_iommu and mode in (IommuMode.TRANSLATED, IommuMode.LAZY):
        assert found.verdict is not Verdict.REFUSED
        assert found.errno in (None, errno.ENODEV)
    elif mode is IommuMode.PASSTHROUGH:
        off = expected(allocator, decoder, board, IommuMode.OFF, size=size, layout=layout)
        assert found == off


@given(decoders, boards, modes, sizes, layouts)
def test_the_copying_control_is_never_zero_copy(decoder, board, mode, size, layout):
    found = expected(ALLOCATORS["copied"], decoder, board, mode, size=size, layout=layout)
    assert found.verdict is not Verdict.ZERO_COPY


@given(allocators, decoders, boards, modes, sizes)
def test_more_guarantees_never_turn_zero_copy_away(allocator, decoder, board, mode, size):
    best = Layout(contiguous=True, reach=Reach.BELOW)
    if expected(allocator, decoder, board, mode, size=size).verdict is Verdict.ZERO_COPY:
        assert expected(allocator, decoder, board, mode, size=size, layout=best).verdict is Verdict.ZERO_COPY


SG = DecoderFacts("takes what it gets", 32, contiguous=False)
HALF = BoardFacts(ram=((0, 2 * GIB),))
SCATTERED, OWN, SYNCED, CONTROL = (
    ALLOCATORS[name] for name in ("udmabuf-4k", "decoder-mmap", "heap-system", "copied")
)


@pytest.mark.parametrize(
    ("decoder", "allocator", "layout", "wanted"),
    [
        (SG, SCATTERED, Layout(False, Reach.BELOW), Verdict.ZERO_COPY),
        (WIDE, SCATTERED, Layout(False, Reach.BELOW), Verdict.REFUSED),
        (SG, SCATTERED, Layout(False, Reach.ACROSS), Verdict.CORRUPT),
        (SG, SYNCED, Layout(False, Reach.ACROSS), Verdict.COPIED),
        (WIDE, SCATTERED, Layout(False, Reach.ACROSS), Verdict.REFUSED),
        (WIDE, SCATTERED, Layout(False, Reach.ABOVE), Verdict.CORRUPT),
        (WIDE, SYNCED, Layout(False, Reach.ABOVE), Verdict.COPIED),
    ],
)
def test_what_a_layout_means_without_translation(decoder, allocator, layout, wanted):
    for mode in (IommuMode.OFF, IommuMode.PASSTHROUGH):
        assert expected(allocator, decoder, LARGE, mode, layout=layout).verdict is wanted
    assert expected(allocator, decoder, LARGE, IommuMode.LAZY, layout=layout).verdict is Verdict.ZERO_COPY


def test_a_decoder_without_an_iommu_is_translated_in_no_mode():
    for mode in IommuMode:
        assert expected(SCATTERED, BARE, SMALL, mode).verdict is Verdict.REFUSED


def test_the_control_is_copied_only_where_the_decoder_runs():
    assert expected(CONTROL, WIDE, SMALL, IommuMode.OFF).verdict is Verdict.COPIED
    assert expected(CONTROL, NARROW, SMALL, IommuMode.OFF).verdict is Verdict.UNSUPPORTED


@pytest.mark.parametrize(
    ("lines", "mode", "board", "allocator", "wanted"),
    [
        (32, IommuMode.TRANSLATED, SMALL, OWN, Verdict.ZERO_COPY),  # it has what it promises
        (31, IommuMode.TRANSLATED, SMALL, OWN, Verdict.FAULTED),
        (31, IommuMode.OFF, SMALL, OWN, Verdict.CORRUPT),
        (31, IommuMode.OFF, HALF, OWN, Verdict.ZERO_COPY),  # nothing lies beyond
        (31, IommuMode.OFF, HALF, SCATTERED, Verdict.REFUSED),
        (31, IommuMode.OFF, SMALL, SCATTERED, Verdict.REFUSED),  # it is never given any
        (31, IommuMode.TRANSLATED, SMALL, CONTROL, Verdict.FAULTED),  # there is nothing to copy
        (31, IommuMode.OFF, SMALL, CONTROL, Verdict.CORRUPT),
    ],
)
def test_address_lines_that_are_not_there(lines, mode, board, allocator, wanted):
    decoder = DecoderFacts("d", 32, device_bits=lines)
    assert expected(allocator, decoder, board, mode).verdict is wanted


@pytest.mark.parametrize(
    ("lines", "end", "wanted"),
    [
        (None, 2 * GIB, Verdict.ZERO_COPY),
        (32, 8 * GIB, Verdict.ZERO_COPY),
        (31, 2 * GIB, Verdict.ZERO_COPY),
        (31, 2 * GIB + 4096, Verdict.FAULTED),
    ],
)
def test_address_lines_that_a_decoder_in_the_guest_has_not(lines, end, wanted):
    path = PATHS["vfio-decoder"]
    there = {name: Capability(True) for name in path.requires}
    vmm = VmmFacts(there, guest=BoardFacts(ram=((0, end),)))
    decoder = DecoderFacts("d", 32, device_bits=lines)
    assert expected_path(path, decoder, SMALL, vmm, IommuMode.TRANSLATED).verdict is wanted


def test_guest_pages_are_judged_as_they_really_lie():
    path = PATHS["guest-blob"]
    vmm = VmmFacts({name: Capability(True) for name in path.requires}, guest=SMALL)
    for layout, wanted in (
        (None, Verdict.REFUSED),
        (Layout(True, Reach.BELOW), Verdict.ZERO_COPY),
        (Layout(True, Reach.ABOVE), Verdict.CORRUPT),
    ):
        assert expected_path(path, WIDE, SMALL, vmm, IommuMode.OFF, layout=layout).verdict is wanted
