"""The commands that the virtio-gpu driver of this machine sends, by its trace events.

Events: drivers/gpu/drm/virtio/virtgpu_trace.h. Command numbers: include/uapi/linux/virtio_gpu.h, enum
virtio_gpu_ctrl_type.
"""

from __future__ import annotations

import re

from .trace import Trace, events

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

INSTANCE = "sharelab-gpu"
EVENTS = ("virtio_gpu/virtio_gpu_cmd_queue", "virtio_gpu/virtio_gpu_cmd_response")
COMMANDS = {
    0x0100: "get_display_info",
    0x0101: "resource_create_2d",
    0x0102: "resource_unref",
    0x0103: "set_scanout",
    0x0104: "resource_flush",
    0x0105: "transfer_to_host_2d",
    0x0106: "resource_attach_backing",
    0x0107: "resource_detach_backing",
    0x0108: "get_capset_info",
    0x0109: "get_capset",
    0x010A: "get_edid",
    0x010B: "resource_assign_uuid",
    0x010C: "resource_create_blob",
    0x010D: "set_scanout_blob",
    0x0200: "ctx_create",
    0x0201: "ctx_destroy",
    0x0202: "ctx_attach_resource",
    0x0203: "ctx_detach_resource",
    0x0204: "resource_create_3d",
    0x0205: "transfer_to_host_3d",
    0x0206: "transfer_from_host_3d",
    0x0207: "submit_3d",
    0x0208: "resource_map_blob",
    0x0209: "resource_unmap_blob",
    0x0300: "update_cursor",
    0x0301: "move_cursor",
    0x1100: "ok_nodata",
    0x1101: "ok_display_info",
    0x1102: "ok_capset_info",
    0x1103: "ok_capset",
    0x1104: "ok_edid",
    0x1105: "ok_resource_uuid",
    0x1106: "ok_map_info",
    0x1200: "err_unspec",
    0x1201: "err_out_of_memory",
    0x1202: "err_invalid_scanout_id",
    0x1203: "err_invalid_resource_id",
    0x1204: "err_invalid_context_id",
    0x1205: "err_invalid_parameter",
}

_NUMBER = re.compile(r"(type|fence_id|ctx_id|seqno)=(0x[0-9a-f]+|\d+)")


def parse(text: str) -> list[dict[str, Any]]:
    """Parse a ``trace`` file: ``event`` (queue, response), ``type``, ``name`` of it, ``fence``, ``ctx``.

    ``seqno`` counts the commands; a response has its command's (``None`` on kernels before 6.5).
    """
    found = []
    for _, event, rest in events(text):
        if event.startswith("virtio_gpu_cmd_"):
            field = {name: int(value, 0) for name, value in _NUMBER.findall(rest)}
            found.append(
                {
                    "event": event.rpartition("_")[2],
                    "type": field["type"],
                    "name": COMMANDS.get(field["type"], hex(field["type"])),
                    "fence": field["fence_id"],
                    "ctx": field["ctx_id"],
                    "seqno": field.get("seqno"),
                }
            )
    return found


class GpuTrace:
    """An instance of the trace for virtio-gpu alone, recording since it was made."""

    def __init__(self) -> None:
        self._trace = Trace(INSTANCE, EVENTS)
        self._trace.start()

    def take(self) -> dict[str, Any]:
        """Return and forget what was recorded: ``commands`` (`parse`, ``None``: not known), ``missing``."""
        self._trace.stop()
        missing = list(self._trace.missing)
        if lost := self._trace.lost():
            missing.append(f"trace: {lost} events lost")
        commands = None if missing else parse(self._trace.text())
        self._trace.start()
        return {"commands": commands, "missing": missing}

    def close(self) -> None:
        """Remove the instance."""
        self._trace.close()
