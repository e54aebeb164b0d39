"""The evidence of a sharing path, joined on the host from what board, guest and VMM said. Pure.

``across`` lays the path's evidence over what the agent's ``share()`` returned; ``ended`` makes the evidence
of a path that ended before the decoder had its turn. The rest turns answers of the agents into the path's
keys, and into what was found of `lab.sharing.paths.REQUIREMENTS`.
"""

from __future__ import annotations

import errno
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from lab.sharing.constraints import PAGE
from lab.sharing.paths import PATHS

# "[PID@SECONDS:]virtio_gpu_cmd_NAME res 0x1, ..." (QEMU, hw/display/trace-events).
_COMMAND = re.compile(r"\bvirtio_gpu_cmd_(\w+) (?:id \d+, )?res 0x([0-9a-f]+)")
_CREATED = {"res_create_2d", "res_create_3d", "res_create_blob"}
# Requirement -> parameter (lab/agent/virtgpu.py, PARAMS).
_PARAMETERS = {
    "resource-blob": "resource_blob",
    "virgl": "3d",
    "resource-uuid": "cross_device",
    "host-visible": "host_visible",
}


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


def given_up(lines: Iterable[str] | None, *, resource: int) -> bool:
    """Whether the VMM's trace shows the end of ``resource``: what was asked of it before has been done.

    The commands of virtio-gpu's control queue are done in their order.
    """
    found = False
    for line in lines or ():
        command = _COMMAND.search(line)
        if command is not None and int(command[2], 16) == resource:
            found = command[1] == "res_unref"
    return found


def transfers_in_guest(commands: Iterable[Mapping[str, Any]] | None) -> list[str] | None:
    """The transfers to the host among the commands of the guest's driver (its agent's ``gpu_commands``).

    Of any resource, for the guest's trace does not say which: where the guest also moves other data, ask
    the VMM (``transfers``). None where there was no trace, or no command in it.
    """
    sent = [str(command["name"]) for command in commands or () if command["event"] == "queue"]
    return [name for name in sent if name.startswith("transfer_to_host")] if sent else None


def pages_written(raw: Mapping[str, Any]) -> list[int] | None:
    """Host-physical address of each 4K page that the decoder had mapped last, in order: for ``vm_pages()``.

    Those of all its buffers: it may write any of them. From ``maps`` of ``share()``; None where the trace cut
    a list, or merged it and does not say how.
    """
    events = [event for event in raw.get("maps") or () if event["device"] == raw["importer"]]
    last = [_pages(event) for event in events[-max(1, len(raw.get("buffers") or ())) :]]
    if not last or None in last:
        return None
    return [page for pages in last for page in pages or ()]


def _pages(event: Mapping[str, Any]) -> list[int] | None:
    phys, lengths = event["phys"], [length for _, length in event["dma"]]
    if event["truncated"]:
        return None
    if len(phys) * PAGE >= sum(lengths):
        return list(phys)
    if len(phys) != len(lengths):
        return None
    pairs = zip(phys, lengths, strict=True)
    return [start + offset for start, length in pairs for offset in range(0, length, PAGE)]


def offered(info: Mapping[str, Any]) -> dict[str, tuple[bool, str]]:
    """Capabilities from the guest agent's ``gpu_info()``: what virtio-gpu's parameters and capsets say."""
    if info["driver"] is None:
        return dict.fromkeys(_PARAMETERS, (False, "the guest has no virtio-gpu"))
    params = info["params"]
    there = ", ".join([*(name for name, value in params.items() if value), *info["capsets"]]) or "nothing"
    found = {name: (bool(params.get(key)), f"{key} not among {there}") for name, key in _PARAMETERS.items()}
    virgl = [name for name in info["capsets"] if name.startswith("virgl")]
    found["virgl"] = (bool(params.get("3d") and virgl), f"virgl not among {there}")
    return {
        name: (present, "" if present else f"virtio-gpu: {why}") for name, (present, why) in found.items()
    }


def tried(answer: Mapping[str, Any], what: str) -> tuple[bool, str]:
    """A capability from an attempt that answers {stage, errno, message}, as ``gpu_blob()`` does."""
    if answer["stage"] == "done":
        return True, ""
    name = errno.errorcode.get(answer["errno"] or 0, str(answer["errno"]))
    return False, f"{what}: {answer['stage']}: {name}: {answer['message']}"


def joined_faults(*sources: Mapping[str, Any]) -> dict[str, Any]:
    """``faults`` and ``fault_lines`` of several transfers as one; None where one of them does not know."""
    counts = [source["faults"] for source in sources]
    return {
        "faults": None if None in counts else sum(counts),
        "fault_lines": [line for source in sources for line in source["fault_lines"]],
    }


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


def ended(path: str, stage: str, number: int, message: str, *, importer: str = "") -> dict[str, Any]:
    """The evidence of a path that ended at ``stage`` before anything was decoded, in ``message``'s words.

    ``probe`` or ``allocate``: unsupported; ``import``: refused. ``number``: errno of the failing call, or
    ENODEV where a feature bit says it.
    """
    return {
        "path": path,
        "stage": stage,
        "errno": number,
        "message": " ".join(message.split()),
        "importer": importer,
        "allocator": PATHS[path].allocator.provider,
        "frames": [],
    }
