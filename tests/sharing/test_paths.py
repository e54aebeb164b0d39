"""Sharing paths: the measured table across the VM boundary, and what holds for every combination."""

import errno
import re
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.base.errors import LabError
from lab.base.words import IommuMode, Verdict
from lab.sharing import (
    ALLOCATORS,
    PATHS,
    BoardFacts,
    Capability,
    DecoderFacts,
    Layout,
    Place,
    Reach,
    VmmFacts,
    expected,
    expected_path,
)
from lab.sharing.allocators import Backing
from lab.sharing.paths import HUGE, IOMMU_GROUP, REQUIREMENTS
from tests.sharing.scenes import BARE, GIB, LARGE, NARROW, SMALL, WIDE
from tests.sharing.test_expect import boards, decoders, layouts, modes, sizes

ON, LAZY, PASS, OFF = IommuMode
OK, NO, LOST = Verdict.ZERO_COPY, Verdict.REFUSED, Verdict.CORRUPT
COPY, NEVER, UNKNOWN = Verdict.COPIED, Verdict.UNSUPPORTED, Verdict.INCONCLUSIVE
MIB = 1 << 20

# The guest: 512 MiB from 1 GiB on, as on QEMU's virt machine.
GUEST = BoardFacts(ram=((GIB, GIB + 512 * MIB),))
ABSENT = {
    "resource-uuid": "virtio-gpu offers no RESOURCE_UUID (+virgl +edid +resource_blob -host_visible)",
    "host3d-dmabuf": "DRM_IOCTL_VIRTGPU_MAP of a HOST3D blob: EINVAL",
}
FOUND = {name: Capability(name not in ABSENT, ABSENT.get(name, "")) for name in REQUIREMENTS}
VMM = VmmFacts(FOUND, GUEST)  # guest RAM on 4K pages of a memfd
HUGE_VMM = VmmFacts(FOUND, GUEST, page=HUGE)


def ask(name, mode, decoder=WIDE, board=SMALL, vmm=VMM, **more):
    return expected_path(PATHS[name], decoder, board, vmm, mode, **more)


# facts/virtual-board.md, "Sharing paths, measured" (QCIF, 38016 bytes) and the paragraphs below it.
# Nobody had measured C without SMMU, contiguous guest memory under translation, nor the controls.
#                          path                 guest RAM   translated  passthrough  no SMMU
MEASURED = {
    "A: scattered": ("guest-blob", VMM, OK, NO, NO),
    "A: contiguous, on 2M": ("guest-blob-contig", HUGE_VMM, OK, OK, OK),
    "A: contiguous, on 4K": ("guest-blob-contig", VMM, OK, NO, NO),
    "A: scattered, on 2M": ("guest-blob", HUGE_VMM, OK, NO, NO),
    "A: imported, on 2M": ("guest-import", HUGE_VMM, OK, OK, OK),
    "A: imported, on 4K": ("guest-import", VMM, OK, NO, NO),
    "C: chosen by the host": ("host-blob", VMM, OK, OK, OK),
    "D: virgl": ("virgl-texture", VMM, OK, NO, NO),
    "E: VFIO": ("vfio-decoder", VMM, OK, OK, NEVER),
    "USB": ("usb-pages", VMM, OK, NO, NO),
    "USB, the dma-buf": ("usb-dmabuf", VMM, NO, NO, NO),
    "UUID": ("resource-uuid", VMM, NEVER, NEVER, NEVER),
    "HOST3D": ("host3d-blob", VMM, NEVER, NEVER, NEVER),
    "GPU": ("gpu-import", VMM, OK, OK, OK),
    "blob off": ("guest-copied", VMM, COPY, COPY, COPY),
    "wrong buffer": ("wrong-buffer", VMM, LOST, LOST, LOST),
    "no trace": ("untraced", VMM, UNKNOWN, NO, NO),
}


def test_the_table_names_every_path():
    assert {row[0] for row in MEASURED.values()} == set(PATHS)


@pytest.mark.parametrize("case", MEASURED)
def test_virt_smmu(case):
    name, vmm, translated, passthrough, off = MEASURED[case]
    for mode, wanted in {ON: translated, LAZY: translated, PASS: passthrough, OFF: off}.items():
        assert ask(name, mode, vmm=vmm).verdict is wanted, mode


@pytest.mark.parametrize("case", MEASURED)
def test_virt_cma(case):
    name, vmm, _, _, off = MEASURED[case]
    assert ask(name, OFF, BARE, vmm=vmm).verdict is off


def test_virgl_follows_the_boards_own_shmem():
    board = BoardFacts(ram=SMALL.ram, shmem_huge=True)
    assert ask("virgl-texture", PASS, board=board).verdict is OK
    assert ask("virgl-texture", OFF, board=board).verdict is OK
    # ... and a GPU driver that allocates from CMA needs no such luck.
    assert ask("virgl-texture", OFF, vmm=replace(VMM, texture=Backing.CMA)).verdict is OK


# RAM above the decoder's mask, never measured across the boundary: this is what the rules say.
@pytest.mark.parametrize(
    ("name", "vmm", "wanted"),
    [
        ("guest-blob", VMM, LOST),
        ("guest-blob-contig", HUGE_VMM, LOST),
        ("virgl-texture", VMM, LOST),
        ("host-blob", VMM, OK),
        ("vfio-decoder", VMM, NEVER),
        ("usb-pages", VMM, LOST),
        ("gpu-import", VMM, OK),
        ("guest-copied", VMM, COPY),
        ("untraced", VMM, LOST),
    ],
)
def test_virt_dma32(name, vmm, wanted):
    found = ask(name, OFF, BARE, LARGE, vmm)
    assert found.verdict is wanted
    if wanted is LOST:
        assert "beyond 32 bits are bounced (swiotlb) and never copied back" in found.reason
        assert found.reason.startswith("guest RAM: ") == (PATHS[name].place is Place.GUEST_RAM)
        # Without bounce buffers the loss is not silent.
        refused = ask(name, OFF, BARE, replace(LARGE, swiotlb=False), vmm)
        assert (refused.verdict, refused.errno) == (NO, errno.EINVAL)


def test_the_level_that_breaks_a_run_is_named():
    assert ask("guest-blob", OFF).reason == "EFAULT: 10 pages, not contiguous in the guest or on the host"
    assert ask("guest-blob", OFF, vmm=HUGE_VMM).reason.endswith("not contiguous in the guest")
    assert ask("guest-blob-contig", OFF).reason.endswith("not contiguous on the host")
    forced = replace(HUGE_VMM, guest=replace(GUEST, shmem_huge=True))
    assert ask("guest-blob", OFF, vmm=forced).verdict is OK


def test_runs_end_where_the_shorter_granule_ends():
    assert ask("guest-blob-contig", OFF, vmm=HUGE_VMM, size=HUGE).verdict is OK
    assert ask("guest-blob-contig", OFF, vmm=HUGE_VMM, size=HUGE + 1).verdict is NO
    assert ask("guest-blob", OFF, size=4096).verdict is OK
    assert ask("guest-blob", OFF, size=4097).verdict is NO


@pytest.mark.parametrize("name", PATHS)
def test_what_is_absent_is_said_in_the_words_that_were_read(name):
    for requirement in PATHS[name].requires:
        words = f"no {requirement},\n  says the kernel"
        vmm = replace(VMM, capabilities=FOUND | {requirement: Capability(False, words)})
        # All that comes before it is there.
        before = PATHS[name].requires[: PATHS[name].requires.index(requirement)]
        have = {each: Capability(True) for each in before}
        vmm = replace(vmm, capabilities={**vmm.capabilities, **have})
        found = ask(name, OFF, vmm=vmm) if IOMMU_GROUP not in before else ask(name, ON, vmm=vmm)
        assert (found.verdict, found.errno) == (NEVER, errno.ENODEV)
        assert found.reason == f"no {requirement}, says the kernel"


@pytest.mark.parametrize("name", ["resource-uuid", "host3d-blob"])
def test_a_newer_vmm_turns_the_cell_by_itself(name):
    newer = replace(VMM, capabilities={each: Capability(True) for each in REQUIREMENTS})
    assert ask(name, ON).reason in ABSENT.values()
    assert ask(name, ON, vmm=newer).verdict is OK
    assert ask(name, OFF, vmm=newer).verdict is NO


def test_nothing_is_expected_of_what_nobody_looked_for():
    with pytest.raises(LabError, match="nobody looked for 'resource-blob'"):
        ask("guest-blob", ON, vmm=VmmFacts(guest=GUEST))
    with pytest.raises(LabError, match="guest's memory was not read"):
        ask("guest-blob", ON, vmm=VmmFacts(FOUND))
    # What the board alone decides needs no guest, and no group no look into it.
    assert ask("gpu-import", ON, vmm=VmmFacts(FOUND)).verdict is OK
    assert ask("vfio-decoder", OFF, vmm=VmmFacts()).reason == "the decoder is in no IOMMU group"


def test_the_guests_memory_is_what_a_decoder_in_it_has_to_reach():
    # Behind the IOMMU the narrow one reaches everything on the board, but nothing of a guest at 1 GiB.
    assert ask("guest-blob", ON, NARROW).verdict is OK
    found = ask("vfio-decoder", ON, NARROW)
    assert (found.verdict, found.errno) == (NEVER, errno.EIO)
    assert found.reason.startswith("guest: EIO at probe: 28 address bits")
    assert ask("vfio-decoder", ON, WIDE, LARGE).verdict is OK, "the board's RAM does not matter"
    liar = DecoderFacts("liar", 32, device_bits=30)
    assert ask("vfio-decoder", ON, liar).verdict is Verdict.FAULTED
    assert ask("vfio-decoder", ON, replace(liar, device_bits=31)).verdict is OK


def test_scattered_guest_memory_is_refused_by_a_decoder_in_the_guest():
    path = replace(PATHS["vfio-decoder"], allocator=ALLOCATORS["udmabuf-4k"])
    found = expected_path(path, WIDE, SMALL, VMM, ON)
    assert (found.verdict, found.errno) == (NO, errno.EFAULT)


def test_other_memory_for_the_same_path():
    path = PATHS["gpu-import"].over(ALLOCATORS["udmabuf-4k"])
    assert path.title == "udmabuf, 4K pages, scattered → GPU"
    assert expected_path(path, WIDE, SMALL, VMM, ON).verdict is OK
    assert expected_path(path, WIDE, SMALL, VMM, OFF).verdict is NO
    with pytest.raises(ValueError, match="not the board's to choose"):
        PATHS["guest-blob"].over(ALLOCATORS["vgem"])


def test_facts_from_the_agents():
    raw = {"ram": [[GIB, 2 * GIB]], "swiotlb_bytes": 0, "shmem_thp": "force", "heaps": None}
    found = VmmFacts.from_raw({"virgl": (False, "no capset")}, raw, backing="hugetlb")
    assert found.page == HUGE
    assert found.guest_memory.shmem_huge
    assert found.lacks("virgl") == "no capset"
    assert VmmFacts.from_raw({"virgl": (True, "")}).lacks("virgl") == ""
    assert VmmFacts.from_raw({}).page == 4096
    assert VmmFacts.from_raw({"virgl": (False, " ")}).lacks("virgl") == "no virgl"
    with pytest.raises(ValueError, match="no path requires telepathy"):
        VmmFacts.from_raw({"telepathy": (True, "")})


def test_the_table_is_sound():
    for name, path in PATHS.items():
        assert path.name == name
        assert set(path.requires) <= set(REQUIREMENTS)
        assert path.importers
        assert path.provider
        assert len(path.title) <= 30, "the label column of an 80-column terminal"
        assert (path.control is None) == (not path.why)
        assert (path.control is not None) == path.title.startswith("control: ")
    assert {path.title for path in PATHS.values()}.isdisjoint(each.title for each in ALLOCATORS.values())
    assert len({path.title for path in PATHS.values()}) == len(PATHS)


paths = st.sampled_from(list(PATHS.values()))
capabilities = st.fixed_dictionaries(
    {name: st.builds(Capability, st.booleans(), st.sampled_from(["", "said\nso"])) for name in REQUIREMENTS}
)
vmms = st.builds(
    VmmFacts,
    capabilities=capabilities | st.just({name: Capability(True) for name in REQUIREMENTS}),
    guest=boards,
    page=st.sampled_from([4096, HUGE]),
    texture=st.sampled_from([Backing.SHMEM, Backing.CMA, Backing.PAGES]),
)


@given(paths, decoders, boards, vmms, modes, sizes, layouts)
def test_every_question_has_an_answer(path, decoder, board, vmm, mode, size, layout):
    found = expected_path(path, decoder, board, vmm, mode, size=size, layout=layout)
    assert 4 < len(found.reason) < 120
    assert "\n" not in found.reason
    assert (found.errno is not None) == (found.verdict in (NO, NEVER))
    assert found.verdict is not UNKNOWN or path.control is UNKNOWN


@given(paths, decoders, boards, vmms, modes, sizes, layouts)
def test_controls_are_never_zero_copy(path, decoder, board, vmm, mode, size, layout):
    found = expected_path(path, decoder, board, vmm, mode, size=size, layout=layout)
    if path.control is not None:
        assert found.verdict is not OK


@given(paths, decoders, boards, vmms, modes, sizes)
def test_more_guarantees_never_turn_zero_copy_away(path, decoder, board, vmm, mode, size):
    if expected_path(path, decoder, board, vmm, mode, size=size).verdict is not OK:
        return
    best = Layout(contiguous=True, reach=Reach.BELOW)
    assert expected_path(path, decoder, board, vmm, mode, size=size, layout=best).verdict is OK
    bigger = replace(vmm, page=HUGE, guest=replace(vmm.guest, shmem_huge=True))
    assert expected_path(path, decoder, board, bigger, mode, size=size).verdict is OK


@given(decoders, boards, vmms, modes, sizes)
def test_guest_ram_is_never_better_than_the_boards_own_pages(decoder, board, vmm, mode, size):
    """The VMM's pages are the board's: a guest adds a level that can scatter, none that can mend."""
    vmm = replace(vmm, capabilities=FOUND)
    backing = ALLOCATORS["udmabuf-2m" if vmm.page == HUGE else "udmabuf-4k"]
    on_board = expected(backing, decoder, replace(board, shmem_huge=False), mode, size=size).verdict
    for name in ("guest-blob", "guest-blob-contig", "guest-import"):
        if expected_path(PATHS[name], decoder, board, vmm, mode, size=size).verdict is OK:
            assert on_board is OK


@given(decoders, boards, vmms, modes, sizes)
def test_vfio_wants_a_group_and_nothing_of_the_boards_memory(decoder, board, vmm, mode, size):
    found = expected_path(PATHS["vfio-decoder"], decoder, board, vmm, mode, size=size)
    if mode is OFF or not decoder.behind_iommu:
        assert found.verdict is NEVER
    else:
        assert found == expected_path(PATHS["vfio-decoder"], decoder, LARGE, vmm, ON, size=size)


DOCS = (Path(__file__).parents[2] / "docs" / "paths.md").read_text()
ROW = re.compile(
    r"^\| ((?:`[a-z0-9-]+`(?:, )?)+) \| [^|]+ \| ([^|]+) \| ([^|]+) \| ([^|]+) \|$", re.MULTILINE
)


def test_the_page_about_paths_says_what_the_model_says():
    told = {
        name: cells for names, *cells in ROW.findall(DOCS) for name in re.findall(r"`([a-z0-9-]+)`", names)
    }
    assert set(told) == {name for name, path in PATHS.items() if not path.control} - {"usb-dmabuf"}
    for name, (on, untranslated, above) in told.items():
        vmm = HUGE_VMM if name in ("guest-blob-contig", "guest-import") else VMM
        assert on.split()[0] == ask(name, ON, vmm=vmm).verdict == ask(name, LAZY, vmm=vmm).verdict
        assert above.split()[0] == ask(name, OFF, BARE, LARGE, vmm).verdict
        passthrough, _, off = untranslated.partition("; off: ")
        if passthrough != "as it allocates":
            assert passthrough.split()[0] == ask(name, PASS, vmm=vmm).verdict
            assert (off or passthrough).split()[0] == ask(name, OFF, vmm=vmm).verdict


def test_the_page_about_paths_names_every_path():
    assert all(f"`{name}`" in DOCS or f"## {name}" in DOCS for name in PATHS)
