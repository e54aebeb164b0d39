"""The agent's end of the execnet channel: receives calls, runs them one after another, sends the results.

Messages (execnet's plain types): ``(id, name, kwargs)`` in; ``(id, "ok", value)`` or ``(id, "error", {"type",
"errno", "message", "traceback"})`` out. Calls run in the thread that called `serve`. ``ping`` is answered at
once from execnet's receiving thread, so a heartbeat gets its answer while a long call runs.
"""

from __future__ import annotations

import sys
from importlib import import_module
from queue import SimpleQueue

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

# Call -> module of this package that has a function of that name. The module is loaded by the first call.
CALLS = {
    "hello": "info",
    "facts": "info",
    "iommu": "iommu",
    "set_type": "iommu",
    "load": "modules",
    "unload": "modules",
    "set_parameter": "modules",
    "bind": "modules",
    "unbind": "modules",
    "rebind": "modules",
    "decoders": "v4l2",
    "decoder_formats": "formats",
    "capture_needs": "decoder",
    "run": "run",
    "start": "run",
    "finish": "run",
    "kmsg": "kmsg",
    "allocate": "buffers",
    "own_buffers": "buffers",
    "read": "buffers",
    "write": "buffers",
    "describe": "buffers",
    "dmabufs": "dmabuf",
    "free": "buffers",
    "reset": "buffers",
    "share": "share",
    "before_snapshot": "snapshot",
    "after_snapshot": "snapshot",
    "gles_import": "gles",
    "gles_read": "gles",
    "gles_sample": "gles",
    "virgl_texture": "virgl",
    "virgl_sample": "virgl",
    "virgl_clear": "virgl",
    "gpu_info": "gpu",
    "gpu_blob": "gpu",
    "gpu_resource": "gpu",
    "gpu_scanout": "gpu",
    "gpu_flush": "gpu",
    "gpu_transfer": "gpu",
    "gpu_trace": "gpu",
    "gpu_commands": "gpu",
    "gpu_capabilities": "capabilities",
    "board_capabilities": "capabilities",
    "gpu_host_blob": "capabilities",
    "gpu_export_uuid": "capabilities",
    "usb_disk": "usb",
    "usb_write": "usb",
    "usb_read": "usb",
    "usb_load": "usb",
    "usb_store": "usb",
    "vfio_take": "vfio",
    "vfio_give_back": "vfio",
    "bar_capability": "barblob",
    "bar_export": "barblob",
    "host_blob_capability": "hostblob",
    "host_blob_map": "hostblob",
    "host_blob_start": "hostblob",
    "host_blob_status": "hostblob",
    "host_blob_stop": "hostblob",
    "vm_start": "vmm",
    "vm_status": "vmm",
    "vm_stop": "vmm",
    "vm_qmp": "vmm",
    "vm_console": "vmm",
    "vm_trace": "vmm",
    "vm_display": "display",
    "vm_scanout": "display",
    "vm_dmabufs": "vmview",
    "vm_new_dmabufs": "vmview",
    "vm_lift": "vmview",
    "vm_pages": "vmview",
    "vm_screendump": "vmview",
}


def serve(channel: Any) -> None:
    """Serve ``channel`` until the host closes it, then close everything that is still open."""
    calls: SimpleQueue[Any] = SimpleQueue()

    def received(message: Any) -> None:
        if message is not None and message[1] == "ping":
            channel.send((message[0], "ok", None))
        else:
            calls.put(message)

    channel.setcallback(received, endmarker=None)
    try:
        while (message := calls.get()) is not None:
            channel.send(answer(*message))
    finally:
        for module, function in (
            ("vmm", "close"),
            ("vfio", "reset"),  # what the VMM had
            ("run", "close"),
            ("buffers", "reset"),
            ("hostblob", "host_blob_stop"),
            ("trace", "close"),
        ):
            if used := sys.modules.get(f"{__package__}.{module}"):
                getattr(used, function)()


def answer(number: int, name: str, arguments: dict[str, Any]) -> tuple[int, str, Any]:
    """Run one call and return the message that answers it; every failure becomes an ``error`` message."""
    try:
        if name not in CALLS:
            raise LookupError(f"the agent has no call {name!r}; it has: ping, {', '.join(CALLS)}")
        function = getattr(import_module(f"{__package__}.{CALLS[name]}"), name)
        return number, "ok", function(**arguments)
    except Exception as error:
        details = {
            "type": type(error).__name__,
            "errno": getattr(error, "errno", None),
            "message": (error.strerror if isinstance(error, OSError) else None) or str(error),
            "traceback": _traceback(error),
        }
        return number, "error", details


def _traceback(error: Exception) -> str:
    """Say where it came from, innermost last. The traceback module takes a second for it on a slow board."""
    lines = []
    frame = error.__traceback__
    while frame is not None:
        code = frame.tb_frame.f_code
        lines.append(f"{code.co_filename}:{frame.tb_lineno} in {code.co_name}")
        frame = frame.tb_next
    return "\n".join([*lines, f"{type(error).__name__}: {error}"])
