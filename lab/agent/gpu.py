"""Calls on virtio-gpu: what it offers, blobs of every kind, the display, the commands that it was sent."""

from __future__ import annotations

from . import drm, kms, virtgpu
from .buffers import HANDLES, get
from .dmabuf import DmaBuf
from .gputrace import GpuTrace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def gpu_info() -> dict[str, Any]:
    """Say what virtio-gpu offers here.

    Returns ``driver`` (``None``: this machine has no virtio-gpu), ``card`` and ``render`` (paths), ``params``
    (`virtgpu.PARAMS` -> value, ``None`` where the kernel does not know one) and ``capsets`` (names).
    """
    import os

    render = drm.node(virtgpu.DRIVER, "renderD")
    if render is None:
        return {"driver": None, "card": None, "render": None, "params": {}, "capsets": []}
    fd = os.open(render, os.O_RDWR | os.O_CLOEXEC)
    try:
        offered = virtgpu.describe(fd)
    finally:
        os.close(fd)
    return {"driver": virtgpu.DRIVER, "card": drm.node(virtgpu.DRIVER), "render": render, **offered}


def gpu_blob(
    size: int,
    mem: str = "guest",
    mappable: bool = True,
    shareable: bool = True,
    cross_device: bool = False,
    capset: str | None = None,
    command: bytes = b"",
    blob_id: int = 0,
) -> dict[str, Any]:
    """Try to make a blob and export it; a refusal is an answer, not an exception.

    ``mem``: guest, host3d, host3d-guest. ``capset``: kind of context to make first; ``command``,
    ``blob_id``: what creates the blob there. Returns ``stage`` (``create``, ``export``, ``map``, ``done``:
    where it ended), ``errno``, ``message``; when exported also ``handle``, ``resource``, ``size``,
    ``exporter``, ``inode``.
    """
    flags = virtgpu.MAPPABLE * mappable | virtgpu.SHAREABLE * shareable | virtgpu.CROSS_DEVICE * cross_device
    answer: dict[str, Any] = {"stage": "create", "errno": None, "message": ""}
    blob = None
    try:
        blob = virtgpu.Blob(size, mem, flags, capset, command, blob_id)
        answer |= {"stage": "export", "resource": blob.resource}
        buffer = DmaBuf(blob.export(), extra=[blob])
    except OSError as error:
        if blob is not None:
            blob.close()
        return answer | {"errno": error.errno, "message": error.strerror or str(error)}
    answer |= {"stage": "map", "handle": HANDLES.add(buffer), **buffer.describe()}
    try:
        _ = buffer.mapping
    except OSError as error:
        return answer | {"errno": error.errno, "message": error.strerror or str(error)}
    return answer | {"stage": "done"}


def gpu_resource(handle: int) -> dict[str, int]:
    """Say which of virtio-gpu's resources a buffer is: ``resource`` (its number in commands), ``blob_mem``.

    ``OSError`` ENODEV for another exporter's buffer on kernels that cannot import it.
    """
    import os

    node = virtgpu.open_node()
    try:
        return virtgpu.resource(node, drm.adopt(node, get(handle).fd))
    finally:
        os.close(node)


def gpu_scanout(
    handle: int,
    width: int,
    height: int,
    stride: int | None = None,
    fourcc: str = "XR24",
    display: int | None = None,
) -> dict[str, Any]:
    """Show a buffer on virtio-gpu's display, in a mode of its own size (at least 32x32).

    A buffer of another exporter is imported for it (``OSError`` ENODEV on kernels that cannot). ``display``:
    from an earlier call, whose buffer gives way and stays imported. Returns ``display`` (a handle for
    `gpu_flush` and `free`: that switches the display off), ``resource`` (its number in the device's
    commands), ``crtc``, ``connector``, ``fb``.
    """
    card = drm.node(virtgpu.DRIVER)
    if card is None:
        raise FileNotFoundError(2, "no virtio-gpu in this machine")
    shown = kms.Display(card) if display is None else _display(display)
    try:
        shown.show(get(handle).fd, width, height, stride or 4 * width, fourcc)
    except BaseException:
        if display is None:
            shown.close()
        raise
    return {
        "display": HANDLES.add(shown) if display is None else display,
        "resource": virtgpu.resource(shown.card, shown.handle)["resource"],
        **shown.scanout.describe(),
    }


def gpu_flush(display: int, handle: int | None = None) -> None:
    """Tell the VMM that what is shown has changed; returns when the device has answered.

    ``handle``: of the buffers that were shown on it the one to show, by default the last one.
    """
    shown = _display(display)
    if handle is not None:
        shown.again(get(handle).fd)
    shown.scanout.flush()


def gpu_transfer(display: int, width: int, height: int, stride: int | None = None) -> None:
    """Have the device copy what is shown from the guest's pages: how memory is *not* shared (a control)."""
    shown = _display(display)
    virtgpu.transfer_to_host(shown.card, shown.handle, width, height, stride or 4 * width)


def gpu_trace() -> dict[str, int]:
    """Begin to record the commands that the virtio-gpu driver sends; ``trace``: for `gpu_commands`."""
    return {"trace": HANDLES.add(GpuTrace())}


def gpu_commands(trace: int) -> dict[str, Any]:
    """Return what was recorded since the last time.

    ``commands``: [{``event``: queue or response, ``name``, ``type``, ``fence``, ``ctx``}] in order, or
    ``None`` where this kernel has no such events or lost some; ``missing``: why.
    """
    watched = HANDLES.get(trace)
    if not isinstance(watched, GpuTrace):
        raise TypeError(f"handle {trace} is a {type(watched).__name__}, not a trace")
    return watched.take()


def _display(handle: int) -> kms.Display:
    thing = HANDLES.get(handle)
    if not isinstance(thing, kms.Display):
        raise TypeError(f"handle {handle} is a {type(thing).__name__}, not a display")
    return thing
