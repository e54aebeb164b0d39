"""Reading traces, and joining evidence."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.sharing import (
    PATHS,
    Evidence,
    VmmFacts,
    across,
    ended,
    given_up,
    joined_faults,
    offered,
    pages_written,
    transfers,
    transfers_in_guest,
    tried,
)
from tests.sharing import scenes
from tests.sharing.crossings import RESOURCE, TRACE, TRANSFER
from tests.sharing.scenes import GIB, REFERENCES


def test_silence_after_the_resource_was_made_is_no_transfer():
    assert transfers(TRACE, resource=RESOURCE) == []


@pytest.mark.parametrize("lines", [None, [], ["qemu: nothing"], TRACE[1:], [TRANSFER]], ids=str)
def test_silence_of_somebody_who_was_not_there_is_none(lines):
    assert transfers(lines, resource=RESOURCE) is None


def test_transfers_are_those_of_the_resource_since_it_was_made():
    other = "virtio_gpu_cmd_res_xfer_toh_2d res 0x8"
    longer = "virtio_gpu_cmd_res_xfer_toh_2d res 0x77"
    assert transfers([*TRACE, other, longer], resource=RESOURCE) == []
    assert transfers([TRACE[0], TRANSFER, *TRACE[1:]], resource=RESOURCE) == [TRANSFER]
    # The number was another resource's before.
    assert (
        transfers([TRACE[0], TRANSFER, "virtio_gpu_cmd_res_unref res 0x7", *TRACE], resource=RESOURCE) == []
    )


def test_all_has_been_done_when_the_resource_is_gone():
    """Until then commands of it may be under way. Its number may have been another one's before."""
    gone = "virtio_gpu_cmd_res_unref res 0x7"
    assert not given_up(None, resource=RESOURCE)
    assert not given_up(TRACE, resource=RESOURCE)
    assert not given_up([gone, *TRACE], resource=RESOURCE)
    assert not given_up([*TRACE, gone.replace("0x7", "0x77")], resource=RESOURCE)
    assert given_up([*TRACE, TRANSFER, gone], resource=RESOURCE)


@pytest.mark.parametrize("kind", ["toh_2d", "toh_3d", "fromh_3d"])
@pytest.mark.parametrize("prefix", ["", "4711@1700000000.123456:", "[12] "])
def test_every_kind_of_transfer_in_every_form_of_line(kind, prefix):
    lines = [prefix + TRACE[0], f"{prefix}virtio_gpu_cmd_res_xfer_{kind} res 0x7\n"]
    assert transfers(lines, resource=RESOURCE) == [f"virtio_gpu_cmd_res_xfer_{kind} res 0x7"]


@pytest.mark.parametrize(
    "line",
    [
        "virtio_gpu_cmd_res_create_2d res 0x7, fmt 0x2, w 64, h 64",
        "virtio_gpu_cmd_res_create_3d res 0x7, fmt 0x2, w 64, h 64, d 1",
        TRACE[0],
    ],
)
def test_every_way_to_make_a_resource(line):
    assert transfers([line], resource=RESOURCE) == []


@given(st.lists(st.sampled_from([*TRACE, TRANSFER, "noise", "virtio_gpu_cmd_res_unref res 0x7"])))
def test_a_transfer_is_never_lost(lines):
    """Whatever comes around it."""
    found = transfers([*lines, TRACE[0], TRANSFER, *(line for line in lines if line != TRACE[0])], resource=7)
    assert found
    assert transfers([*lines, *TRACE], resource=7) == []


def queued(*names):
    return [{"event": "queue", "name": name, "type": 0} for name in names]


def test_the_guests_own_trace():
    harmless = queued("resource_create_blob", "set_scanout_blob", "resource_flush", "transfer_from_host_3d")
    assert transfers_in_guest(harmless) == []
    both = ["transfer_to_host_2d", "transfer_to_host_3d"]
    assert transfers_in_guest([*harmless, *queued(*both)]) == both
    assert transfers_in_guest([]) is None
    assert transfers_in_guest(None) is None
    assert transfers_in_guest([{"event": "response", "name": "transfer_to_host_2d", "type": 0}]) is None


def test_pages_that_the_decoder_wrote():
    pages = scenes.scattered()
    assert pages_written(scenes.shared()) == pages  # one entry a page, one range of I/O addresses
    assert pages_written(scenes.refused()) == pages
    run = scenes.mapped([GIB]) | {"dma": [[GIB, 3 * 4096]]}
    assert pages_written(scenes.shared(maps=[scenes.mapped(pages), run])) == [GIB, GIB + 4096, GIB + 8192]
    for unknown in ([], None, [run | {"truncated": True}], [run | {"device": "other"}]):
        assert pages_written(scenes.shared(maps=unknown)) is None
    merged = scenes.mapped([GIB, 2 * GIB], iova=0x1000)
    assert pages_written(scenes.shared(maps=[merged])) is None, "which of the two is the longer?"


def test_pages_of_every_buffer_that_the_decoder_may_have_written():
    first, second = scenes.scattered(), scenes.scattered(3 * GIB)
    buffers = [scenes.shared()["buffer"] | {"inode": inode} for inode in (12, 13)]
    maps = [scenes.mapped([GIB]), scenes.mapped(first, iova=0x1000), scenes.mapped(second, iova=0x9000)]
    assert pages_written(scenes.shared(buffers=buffers, maps=maps)) == first + second
    cut = [maps[0], maps[1] | {"truncated": True}, maps[2]]
    assert pages_written(scenes.shared(buffers=buffers, maps=cut)) is None
    assert pages_written(scenes.shared(maps=maps)) == second, "the last is all that one buffer has"


INFO = {
    "driver": "virtio_gpu",
    "params": {"3d": 0, "resource_blob": 1, "host_visible": 0, "cross_device": None, "context_init": 1},
    "capsets": [],
}


def test_what_virtio_gpu_offers():
    found = VmmFacts.from_raw(offered(INFO))
    assert found.lacks("resource-blob") == ""
    assert found.lacks("resource-uuid") == "virtio-gpu: cross_device not among resource_blob, context_init"
    assert found.lacks("virgl") == "virtio-gpu: virgl not among resource_blob, context_init"
    assert found.lacks("host-visible")
    whole = {**INFO, "params": dict.fromkeys([*INFO["params"]], 1), "capsets": ["virgl", "virgl2"]}
    assert not any(VmmFacts.from_raw(offered(whole)).lacks(name) for name in offered(whole))
    only_venus = {**whole, "capsets": ["venus"]}
    assert VmmFacts.from_raw(offered(only_venus)).lacks("virgl")
    none = VmmFacts.from_raw(offered({"driver": None, "params": {}, "capsets": []}))
    assert none.lacks("virgl") == none.lacks("resource-blob") == "the guest has no virtio-gpu"


def test_what_an_attempt_says():
    assert tried({"stage": "done", "errno": None, "message": ""}, "HOST3D blob") == (True, "")
    answer = {"stage": "map", "errno": 22, "message": "Invalid argument"}
    assert tried(answer, "HOST3D blob") == (False, "HOST3D blob: map: EINVAL: Invalid argument")


def test_joining_keeps_the_boards_evidence_and_names_what_is_missing():
    raw = scenes.shared(missing=["trace:iommu:map"])
    seen = [picture[::-1] for picture in REFERENCES]
    joined = across(raw, "guest-blob", frames=seen, copies=[], missing=["guest:agent"])
    assert [frame["data"] for frame in joined["frames"]] == seen
    assert [frame["data"] for frame in raw["frames"]] == REFERENCES, "the board's evidence is left alone"
    assert joined["maps"] == raw["maps"]
    wanted = [f"path:{name}" for name in PATHS["guest-blob"].sources if name != "copies"]
    assert joined["missing"] == ["trace:iommu:map", "guest:agent", *wanted]


def test_joining_takes_only_what_it_knows():
    with pytest.raises(TypeError, match="canary"):
        across(scenes.shared(), "guest-blob", canary=3)
    with pytest.raises(ValueError, match="1 frames were read, the decoder gave 2"):
        across(scenes.shared(), "guest-blob", frames=REFERENCES[:1])
    with pytest.raises(KeyError):
        across(scenes.shared(), "by-post")


def test_what_ended_early_is_evidence():
    for name in PATHS:
        found = Evidence.from_raw(ended(name, "allocate", 22, "two\nlines"))
        assert found.sharing_path is PATHS[name]
        assert found.message == "two lines"


def test_faults_of_two_transfers_are_known_only_where_both_are():
    one = {"faults": 1, "fault_lines": ["event 0x10"]}
    none, unknown = {"faults": 0, "fault_lines": []}, {"faults": None, "fault_lines": []}
    assert joined_faults(one, none) == {"faults": 1, "fault_lines": ["event 0x10"]}
    assert joined_faults(none, none)["faults"] == 0
    assert joined_faults(none, unknown)["faults"] is None
    assert joined_faults(unknown, one) == {"faults": None, "fault_lines": ["event 0x10"]}
