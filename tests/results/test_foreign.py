"""Results of other tools: what is taken from them, and what is refused."""

from __future__ import annotations

import json
from dataclasses import fields, replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lab.base.errors import ConfigError
from lab.base.words import IommuMode, Status
from lab.results import Outcome, Result
from lab.results.foreign import FORMATS, Origin, read
from lab.results.junit import junit
from lab.results.store import Store
from tests.results.sample import bad_run
from tests.results.strategies import results

ORIGIN = Origin(tool="", target="rock5b", soc="rk3588", kernel="6.18", iommu=IommuMode.OFF)
FLUSTER = """<?xml version="1.0" ?>
<testsuites disabled="0" errors="0" failures="1" tests="3" time="1,201.5">
 <testsuite name="JVT-AVC_V1" tests="3" timestamp="2026-11-22T10:00:00">
  <testcase name="AUD_MW_E" classname="GStreamer-H.264-V4L2SL" time="1,200.5"/>
  <testcase name="BA1_FT_C" classname="GStreamer-H.264-V4L2SL" time="0.5"><failure message="Fail"
   type="failure">md5 mismatch</failure><system-out>&lt;script&gt;</system-out></testcase>
  <testcase name="CVSE3" classname="GStreamer-H.264-V4L2SL"><skipped message="Not supported"/></testcase>
 </testsuite>
</testsuites>
"""
COMPLIANCE = """v4l2-compliance 1.30.1, 64 bits, 64-bit time_t

Compliance test for hantro-vpu device /dev/video1:

Required ioctls:
\ttest VIDIOC_QUERYCAP: \x1b[32mOK\x1b[0m
\ttest invalid ioctls: OK

Buffer ioctls:
\t\tfail: v4l2-test-buffers.cpp(717): q.create_bufs(node, 1, &fmt)
\ttest VIDIOC_REQBUFS/CREATE_BUFS/QUERYBUF: FAIL
\ttest VIDIOC_EXPBUF: OK (Not Supported)

Total for hantro-vpu device /dev/video1: 4, Succeeded: 3, Failed: 1, Warnings: 0
"""
IGT = {
    "__type__": "TestrunResult",
    "results_version": 10,
    "tests": {
        "igt@prime_vgem@basic-read": {"result": "pass", "time": {"start": 1000.5, "end": 1002.0}},
        "igt@prime_mmap@bad": {"result": "dmesg-warn", "err": "line one\nline two", "dmesg": "<4> WARNING"},
        "igt@kms_prime@x": {"result": "incomplete"},
        "igt@gem@y": {"result": "crash"},
        "igt@gem@z": {"result": "skip"},
    },
}
LAVA = """\
- {name: login-action, suite: lava, result: fail}
- {name: decode, suite: 0_video, result: pass, measurement: '12.50', unit: fps, logged: 2026-11-22 10:00:00}
- {name: vp9, suite: 0_video, result: unknown}
"""


def taken(folder: Path, text: str | bytes, form: str = "", origin: Origin = ORIGIN) -> list[Result]:
    path = folder / "file"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return list(read(path, origin, form).results)


def said(found: list[Result]) -> dict[str, tuple[str, str]]:
    return {item.test.partition("::")[2]: (str(item.status), item.reason) for item in found}


def test_fluster(tmp_path: Path) -> None:
    found = taken(tmp_path, FLUSTER, origin=replace(ORIGIN, tool="fluster"))
    assert said(found) == {
        "GStreamer-H.264-V4L2SL/AUD_MW_E": ("PASS", ""),
        "GStreamer-H.264-V4L2SL/BA1_FT_C": ("FAIL", "Fail"),
        "GStreamer-H.264-V4L2SL/CVSE3": ("SKIP", "Not supported"),
    }
    assert {(item.suite, item.target, item.soc, item.kernel, item.iommu_asked) for item in found} == {
        ("fluster", "rock5b", "rk3588", "6.18", IommuMode.OFF)
    }
    assert (found[0].duration, found[0].started.isoformat()) == (1200.5, "2026-11-22T10:00:00+00:00")
    assert found[1].log == "md5 mismatch\n<script>"


def test_v4l2_compliance(tmp_path: Path) -> None:
    found = taken(tmp_path, COMPLIANCE)
    assert said(found) == {
        "Required ioctls/VIDIOC_QUERYCAP": ("PASS", ""),
        "Required ioctls/invalid ioctls": ("PASS", ""),
        "Buffer ioctls/VIDIOC_REQBUFS/CREATE_BUFS/QUERYBUF": (
            "FAIL", "fail: v4l2-test-buffers.cpp(717): q.create_bufs(node, 1, &fmt)",
        ),
        "Buffer ioctls/VIDIOC_EXPBUF": ("SKIP", "OK (Not Supported)"),
    }  # fmt: skip
    cut = said(taken(tmp_path, COMPLIANCE.partition("Buffer")[0]))
    assert cut["Total"] == ("MISS", "2 tests were read and its total is missing: it was cut off")


def test_igt_and_lava(tmp_path: Path) -> None:
    found = taken(tmp_path, json.dumps(IGT))
    assert said(found) == {
        "igt@prime_vgem@basic-read": ("PASS", ""),
        "igt@prime_mmap@bad": ("FAIL", "dmesg-warn: line one"),
        "igt@kms_prime@x": ("MISS", "incomplete"),
        "igt@gem@y": ("ERROR", "crash"),
        "igt@gem@z": ("SKIP", "skip"),
    }
    assert (found[0].duration, found[1].log) == (1.5, "line one\nline two\n<4> WARNING")
    found = taken(tmp_path, LAVA)
    assert said(found) == {
        "lava/login-action": ("MISS", "fail"),
        "0_video/decode": ("PASS", ""),
        "0_video/vp9": ("ERROR", "unknown"),
    }
    assert found[1].metrics == {"decode_fps": 12.5}


def test_the_same_file_is_the_same_run_and_a_name_that_stands_twice_two_cases(tmp_path: Path) -> None:
    twice = FLUSTER.replace("CVSE3", "AUD_MW_E")
    path = tmp_path / "f.xml"
    path.write_text(twice)
    with Store(tmp_path / "s") as store:
        assert store.ingest(read(path, ORIGIN)).new == 3
        assert store.ingest(read(path, ORIGIN)).new == 0
        (run,) = store.runs()
        assert [cell.test.rpartition("/")[2] for cell in run.planned] == [
            "AUD_MW_E",
            "BA1_FT_C",
            "AUD_MW_E#2",
        ]
        assert store.values("soc") == ["rk3588"]


BOMB = """<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;">]>
<testsuites><testsuite><testcase name="&b;"/></testsuite></testsuites>"""


@pytest.mark.parametrize(
    ("text", "form", "said"),
    [
        (BOMB, "", "XML with a document type or entities: refused"),
        ('<!DOCTYPE x SYSTEM "file:///etc/passwd"><testsuites/>', "", "document type or entities: refused"),
        ("<testsuite>" * 100, "", "nested more than 64 deep"),
        ("<testsuites><testcase", "", "no XML"),
        ("<html/>", "", "no JUnit: its root is <html>"),
        ("<testsuites/>", "", "no test case"),
        ("[" * 200_000, "lava", "no JSON"),
        ("- &a [x]\n- *a\n", "lava", "YAML with aliases: refused"),
        ("- " * 100 + "x", "lava", "YAML nested"),
        ('{"tests": []}', "", "it has no tests"),
        ('{"tests": {"a": 1}}', "igt", "is not an object"),
        ("hello", "", "its format is not known"),
        ("hello", "v4l2-compliance", "no test of v4l2-compliance"),
        ("hello", "tap", "'tap' is not a format"),
        ("", "", "its format is not known"),
    ],
)
def test_what_is_hostile_or_something_else_is_refused_in_one_line(
    tmp_path: Path, text: str, form: str, said: str
) -> None:
    with pytest.raises(ConfigError, match=said) as caught:
        taken(tmp_path, text, form)
    assert str(caught.value).startswith(f"{tmp_path}/file: ")
    assert len(str(caught.value).splitlines()) == 1


def test_a_line_of_a_gigabyte_is_refused_before_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "huge"
    with path.open("wb") as file:
        file.write(b"<testsuites name='")
        file.truncate(1 << 30)  # a hole: it needs no room
    for form in ("", *FORMATS, "kcidb"):
        with pytest.raises(ConfigError, match="larger than 64 MiB: refused"):
            read(path, ORIGIN, form)


HELD = ("test", "target", "iommu_asked", "iommu_verified", "status", "place", "soc", "suite", "path", "vmm",
        "allocator", "importer", "decoder", "verdict", "expected", "expected_reason", "image", "kernel",
        "repeat", "reason")  # fmt: skip
plain = st.text(st.characters(min_codepoint=32, max_codepoint=0xD7FF, exclude_categories=["Cc"]), max_size=12)


def held(item: Result) -> dict[str, object]:
    return {name: getattr(item, name) for name in HELD}


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(items=st.lists(results(texts=plain, run="r"), min_size=1, max_size=4))
def test_our_junit_comes_back_as_far_as_the_format_holds_it(
    items: list[Result], tmp_path_factory: pytest.TempPathFactory
) -> None:
    cells = [cell for cell in Outcome.of(items).cells if cell.test and cell.target]
    if not cells:
        return
    found = taken(tmp_path_factory.mktemp("j"), junit(Outcome.of(cells)))
    assert sorted(map(held, found), key=repr) == sorted(map(held, cells), key=repr)
    assert sorted(round(item.duration, 2) for item in found) == pytest.approx(
        sorted(item.duration for item in cells), abs=0.01
    )


def test_the_bad_run_comes_back_from_junit(tmp_path: Path) -> None:
    cells = Outcome.of(bad_run()).cells
    found = Outcome.of(taken(tmp_path, junit(Outcome.of(cells)))).cells
    assert {cell.key: cell.status for cell in found} == {cell.key: cell.status for cell in cells}
    assert {Status.FAIL, Status.ERROR, Status.SKIP} <= {cell.status for cell in found}


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    data=st.binary(max_size=60) | st.text(max_size=60).map(str.encode), form=st.sampled_from(["", *FORMATS])
)
def test_no_bytes_make_a_reader_fail_otherwise(
    data: bytes, form: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    try:
        found = taken(tmp_path_factory.getbasetemp(), data, form)
    except ConfigError:
        return
    assert all(getattr(item, each.name) is not NotImplemented for item in found for each in fields(item))
