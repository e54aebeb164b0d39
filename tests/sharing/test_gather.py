"""Reading traces, and joining evidence."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.sharing import PATHS, Evidence, across, ended, transfers, transfers_in_guest
from tests.sharing import scenes
from tests.sharing.crossings import RESOURCE, TRACE, TRANSFER
from tests.sharing.scenes import REFERENCES

QUEUED = (
    "  kworker/0:1-9 [000] .... 12.3: virtio_gpu_cmd_queue: vdev=1 vq=0 name=control type=0x{:x} flags=0x1"
)


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


def test_the_guests_own_trace():
    harmless = [QUEUED.format(kind) for kind in (0x010C, 0x010D, 0x0104, 0x0206)]
    assert transfers_in_guest(harmless) == []
    lines = [*harmless, QUEUED.format(0x0105), QUEUED.format(0x0205)]
    assert transfers_in_guest(lines) == ["TRANSFER_TO_HOST_2D", "TRANSFER_TO_HOST_3D"]
    assert transfers_in_guest(["# tracer: nop"]) is None
    assert transfers_in_guest(None) is None
    response = QUEUED.format(0x0105).replace("cmd_queue", "cmd_response")
    assert transfers_in_guest([response]) is None


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
