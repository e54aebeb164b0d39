"""The parsers on text that boards really printed (Linux 6.12, arm64, under QEMU)."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.agent import dmabuf, files, info, iommu, kmsg, pagemap, trace

DATA = Path(__file__).parent / "data"
PAGE = 4096


def read(name: str) -> str:
    return (DATA / name).read_text()


def test_trace_of_an_import_that_swiotlb_bounced() -> None:
    found = trace.summary(read("trace-bounced.txt"), "vivid.0")
    (mapped,) = found["maps"]
    assert found["bounced"] == 22
    assert (mapped["nents"], mapped["ents"], mapped["truncated"]) == (22, 22, False)
    assert len(mapped["phys"]) == len(mapped["dma"]) == 22
    assert min(mapped["phys"]) >= 1 << 32 > max(address for address, _ in mapped["dma"])
    # The bounce slots adjoin: that is what defeats the kernel's contiguity check.
    assert [address for address, _ in mapped["dma"]] == [0xF8000000 + PAGE * n for n in range(22)]
    assert found["queue"] == {"v4l2_qbuf": 1}


def test_trace_of_an_import_that_the_smmu_translates() -> None:
    """Ten scattered pages become one range of addresses, and iommu:map tells which page lies where."""
    found = trace.summary(read("trace-translated.txt"), "0000:00:01.0")
    (mapped,) = found["maps"]
    ((iova, length),) = mapped["dma"]
    assert (mapped["nents"], mapped["ents"], length) == (10, 1, 10 * PAGE)
    assert trace.runs(mapped["phys"], mapped["dma"], length) == 10
    placed = {address: physical for address, physical, size in found["iommu_maps"] if size == PAGE}
    assert [placed[iova + PAGE * n] for n in range(10)] == mapped["phys"]
    assert found["bounced"] == 0
    assert found["queue"] == {"v4l2_qbuf": 2, "vb2_buf_queue": 2, "vb2_buf_done": 2, "v4l2_dqbuf": 2}


def test_trace_of_another_device_is_not_ours() -> None:
    found = trace.summary(read("trace-bounced.txt"), "vivid.1")
    assert (found["maps"], found["bounced"]) == ([], 0)


def test_trace_is_truncated_after_128_entries() -> None:
    (mapped,) = trace.summary(read("trace-truncated.txt"), "vivid.0")["maps"]
    assert (mapped["nents"], mapped["ents"], mapped["truncated"]) == (338, 338, True)
    assert len(mapped["phys"]) == len(mapped["dma"]) == 128


def test_trace_of_allocations() -> None:
    allocs = trace.summary(read("trace-alloc.txt"), "vivid.0")["allocs"]
    assert [(alloc["dma"], alloc["size"], alloc["phys"]) for alloc in allocs] == [
        (0xFC300000, 90112, None),
        (0xFC320000, 90112, None),
    ]


def test_empty_trace() -> None:
    assert trace.summary("# tracer: nop\n#\n", "vivid.0")["maps"] == []


# ---- contiguous runs


@given(st.lists(st.integers(1, 40), min_size=1, max_size=12))
def test_runs_of_pages(lengths: list[int]) -> None:
    """Runs of the given lengths, each followed by a gap, are counted however they are listed."""
    pages, at = [], 0x40000000
    for length in lengths:
        pages += [at + PAGE * n for n in range(length)]
        at += PAGE * (length + 1)
    size = PAGE * len(pages)
    assert pagemap.runs(pages) == len(lengths)
    assert trace.runs(pages, [[page, PAGE] for page in pages], size) == len(lengths)
    assert trace.runs(pages, [[0x1000, size]], size) == len(lengths)  # merged by an IOMMU


@given(st.lists(st.integers(2, 40), min_size=2, max_size=12))
def test_runs_that_the_exporter_merged(lengths: list[int]) -> None:
    starts, at = [], 0x40000000
    for length in lengths:
        starts.append(at)
        at += PAGE * (length + 1)
    assert trace.runs(starts, [[0x1000, PAGE * sum(lengths)]], PAGE * sum(lengths)) == len(lengths)


# ---- pagemap (Documentation/admin-guide/mm/pagemap.rst)


def test_pagemap_entry_of_a_present_page() -> None:
    assert pagemap.parse(struct.pack("2Q", 1 << 63 | 1 << 61 | 0x4AA16, 1 << 63 | 0x4AA30)) == [
        0x4AA16000,
        0x4AA30000,
    ]


@pytest.mark.parametrize("entry", [0, 1 << 63, 1 << 62 | 0x1234], ids=["pfnmap", "hidden", "swapped"])
def test_pagemap_that_does_not_tell(entry: int) -> None:
    assert pagemap.parse(struct.pack("2Q", 1 << 63 | 5, entry)) is None


# ---- dma-buf


def test_bufinfo_with_an_attached_device() -> None:
    assert dmabuf.parse_bufinfo(read("bufinfo-attached.txt")) == [
        {"exporter": "drm", "inode": 3, "size": 1384448, "attachments": ["vivid.0"]}
    ]


def test_bufinfo_of_several_buffers() -> None:
    buffers = dmabuf.parse_bufinfo(read("bufinfo-several.txt"))
    assert len(buffers) > 1
    assert len({buffer["inode"] for buffer in buffers}) == len(buffers)
    assert {(buffer["exporter"], buffer["size"]) for buffer in buffers} == {("udmabuf", 90112)}
    assert all(buffer["attachments"] == [] for buffer in buffers)


def test_bufinfo_skips_fences() -> None:
    """dma_resv_describe() prints one indented line a fence before the devices (dma-resv.c)."""
    text = read("bufinfo-attached.txt").replace(
        "\tAttached", "\twrite fence:virtio_gpu controlq seq 7 signalled\n\tAttached"
    )
    assert dmabuf.parse_bufinfo(text)[0]["attachments"] == ["vivid.0"]


def test_fdinfo() -> None:
    found = dmabuf.parse_fdinfo(read("fdinfo.txt"))
    assert (found["exp_name"], found["size"], found["ino"]) == ("drm", "1384448", "3")


# ---- /proc


def test_system_ram() -> None:
    assert info.system_ram(read("iomem-5g.txt")) == [[0x40000000, 0x180000000]]


def test_meminfo() -> None:
    memory = files.meminfo(read("meminfo.txt"))
    assert memory["CmaTotal"] == 64 << 20
    assert memory["Hugepagesize"] == 2 << 20
    assert memory["HugePages_Total"] < 512  # a count, not kilobytes


def test_event_interrupts_of_an_smmu() -> None:
    text = read("interrupts-smmu.txt")
    expected = sum(
        int(word) for line in text.splitlines() if "smmu-v3-evtq" in line for word in line.split()[1:3]
    )
    assert iommu.event_interrupts(text) == expected > 0


def test_no_event_interrupts_without_an_smmu() -> None:
    assert iommu.event_interrupts(read("interrupts-no-smmu.txt")) is None


def test_fault_lines() -> None:
    log = [
        "arm-smmu-v3 9050000.smmuv3: event 0x10 received:",
        "arm-smmu-v3 9050000.smmuv3: \t0x0000000800000010",
        "contiguous chunk is too small 4096/40960",
    ]
    assert iommu.fault_lines(log) == log[:1]


@pytest.mark.parametrize(
    ("lines", "lost", "before", "after", "faults"),
    [
        (0, False, None, None, 0),
        (2, False, None, None, 2),
        (0, True, None, None, None),
        (2, True, None, None, 2),
        (0, True, 5, 5, 0),
        (1, True, 5, 8, 3),
        (4, False, 5, 8, 4),
        (0, False, None, 3, 3),
    ],
)
def test_faults_are_not_known_where_the_log_that_tells_them_was_lost(lines, lost, before, after, faults):
    log = ["arm-smmu-v3 9050000.smmuv3: event 0x10 received:"] * lines + [kmsg.LOST] * lost
    assert iommu.count_faults(log, before, after) == faults


def test_probe_error_is_the_device_s_last_one() -> None:
    """As Linux 6.12 printed it for a decoder whose address bits do not reach memory."""
    line = "fwht-decoder 0000:00:01.0: probe with driver fwht-decoder failed with error -5"
    older = line.replace("-5", "-12")
    other = line.replace("00:01.0", "00:02.0").replace("-5", "-22")
    assert kmsg.probe_error([older, line, other], "0000:00:01.0") == (5, line)
    assert kmsg.probe_error([other], "0000:00:01.0") is None


def test_kmsg_record() -> None:
    record = b"6,339,5140900,-,caller=T1;NET: Registered; AF_UNIX\n SUBSYSTEM=net\n DEVICE=+net\n"
    assert kmsg.parse(record) == "NET: Registered; AF_UNIX"
