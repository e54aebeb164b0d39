"""V4L2's formats: names, as target files write them, and codes (Linux, include/uapi/linux/videodev2.h)."""

from __future__ import annotations

from collections.abc import Mapping

CODES: Mapping[str, str] = {
    # coded, stateless
    "AV1_FRAME": "AV1F",
    "FWHT": "FWHT",
    "H264_SLICE": "S264",
    "HEVC_SLICE": "S265",
    "MPEG2_SLICE": "MG2S",
    "VP8_FRAME": "VP8F",
    "VP9_FRAME": "VP9F",
    # coded, stateful
    "H264": "H264",
    "HEVC": "HEVC",
    "MPEG1": "MPG1",
    "MPEG2": "MPG2",
    "VP8": "VP80",
    "VP9": "VP90",
    # raw, linear
    "NV12": "NV12",
    "NV12M": "NM12",
    "NV15": "NV15",
    "NV16": "NV16",
    "NV16M": "NM16",
    "NV20": "NV20",
    "NV21": "NV21",
    "NV21M": "NM21",
    "NV61": "NV61",
    "NV61M": "NM61",
    "P010": "P010",
    "YU12": "YU12",
    "YUV420": "YU12",
    "YUV420M": "YM12",
    "YUV422M": "YM16",
    "YUV422P": "422P",
    "YUYV": "YUYV",
    "YVU420": "YV12",
    # raw, tiled or compressed
    "MM21": "MM21",
    "MT2110R": "MT2R",
    "MT2110T": "MT2T",
    "MT21C": "MT21",
    "NV12_32L32": "ST12",
    "NV12_4L4": "VT12",
    "NV15_4L4": "VT15",
    "P010_4L4": "T010",
    "QC08C": "Q08C",
    "QC10C": "Q10C",
}
