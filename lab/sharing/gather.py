"""The evidence of a sharing path, joined on the host from what board, guest and VMM said. Pure.

``across`` lays the path's evidence over what the agent's ``share()`` returned; ``ended`` makes the evidence
of a path that ended before the decoder had its turn; ``transfers`` and ``transfers_in_guest`` read traces.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from lab.sharing.paths import PATHS

# "[PID@SECONDS:]virtio_gpu_cmd_NAME res 0x1, ..." (QEMU, hw/display/trace-events).
_COMMAND = re.compile(r"\bvirtio_gpu_cmd_(\w+) (?:id \d+, )?res 0x([0-9a-f]+)")
_CREATED = {"res_create_2d", "res_create_3d", "res_create_blob"}
# "virtio_gpu_cmd_queue: vdev=1 vq=0 name=control type=0x105 ..." (Linux, virtgpu_trace.h).
_QUEUED = re.compile(r"\bvirtio_gpu_cmd_queue: .*\btype=0x([0-9a-f]+)")
# include/uapi/linux/virtio_gpu.h, enum virtio_gpu_ctrl_type.
_TO_HOST = {0x0105: "TRANSFER_TO_HOST_2D", 0x0205: "TRANSFER_TO_HOST_3D"}


def transfers(lines: Iterable[str] | None, *, resource: int) -> list[str] | None:
    """``copies`` from the VMM's trace: the transfers of ``resource`` (res_handle in RESOURCE_INFO).

    ``lines``: of ``virtio_gpu_cmd_*`` events, from before the resource was made. None where there is no trace
    or where it does not show the resource being made: silence of somebody who was not there proves nothing.
    A number is given again after its resource is gone: what counts comes after the last creation. Both
    directions count, for a guest that reads the frame by a transfer does not read the decoder's memory.
    """
    found: list[str] | None = None
    for line in lines or ():
        command = _COMMAND.search(line)
        if command is None or int(command[2], 16) != resource:
            continue
        if command[1] in _CREATED:
            found = []
        elif found is not None and command[1].startswith("res_xfer_"):
            found.append(line[command.start() :].strip())
    return found


def transfers_in_guest(lines: Iterable[str] | None) -> list[str] | None:
    """The transfers to the host in the guest's own trace, ``virtio_gpu:virtio_gpu_cmd_queue``.

    Of any resource, for the event does not say which. None where there is no trace, or no command in it.
    """
    types = [int(found[1], 16) for found in map(_QUEUED.search, lines or ()) if found]
    return [_TO_HOST[kind] for kind in types if kind in _TO_HOST] if types else None


def across(
    raw: Mapping[str, Any],
    path: str,
    *,
    frames: Sequence[bytes] | None = None,
    converted: bool = False,
    tolerance: int = 0,
    missing: Iterable[str] = (),
    **found: Any,
) -> dict[str, Any]:
    """The evidence of ``path``: what ``share()`` on the board returned, and what the rest of the path saw.

    ``frames``: what the consumer read, one for each frame that the decoder gave; None: it read none, because
    the decoder gave none. ``converted``: they have another layout than the decoder's. ``found``: the path's
    keys (`lab.sharing.evidence`); one that its ``sources`` want and that is None or absent counts as missing.
    """
    sources = PATHS[path].sources
    if unknown := found.keys() - _KEYS:
        raise TypeError(f"no evidence of a path: {', '.join(sorted(unknown))}")
    decoded = [dict(frame) for frame in raw["frames"]]
    payload = None
    if frames is not None:
        if len(frames) != len(decoded):
            raise ValueError(f"{len(frames)} frames were read, the decoder gave {len(decoded)}")
        if converted:
            payload = max((frame["bytesused"] for frame in decoded), default=0) or None
        for frame, data in zip(decoded, frames, strict=True):
            frame["data"] = data
            if converted and frame["bytesused"]:
                frame["bytesused"] = len(data)
    joined = {**raw, "path": path, "frames": decoded, "payload": payload, "tolerance": tolerance, **found}
    for name in sources:
        joined.setdefault(name, None)
    absent = [f"path:{name}" for name in sources if joined[name] is None]
    return {**joined, "missing": [*raw.get("missing", ()), *missing, *absent]}


_KEYS = {"copies", "dmabuf", "guest_pages", "canaries", "screen", "consumer", "pages"}


def ended(path: str, stage: str, errno: int, message: str, *, importer: str = "") -> dict[str, Any]:
    """The evidence of a path that ended at ``stage`` before anything was decoded, in ``message``'s words.

    ``probe`` or ``allocate``: unsupported; ``import``: refused; with the errno of the failing call, or ENODEV
    where a feature bit says it.
    """
    return {
        "path": path,
        "stage": stage,
        "errno": errno,
        "message": " ".join(message.split()),
        "importer": importer,
        "allocator": PATHS[path].allocator.provider,
        "frames": [],
    }
