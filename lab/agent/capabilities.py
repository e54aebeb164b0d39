"""What this machine has of what a sharing path may need, found by trying, in the words of who refuses.

The names are those of the host's table of requirements. Each finding is (present, reason): the reason is read
here and now, so that a newer kernel or VMM turns it by itself. UAPI: include/uapi/drm/virtgpu_drm.h, bits of
virtio-gpu: include/uapi/linux/virtio_gpu.h.
"""

from __future__ import annotations

import errno
import os
import re
import struct
import time

from . import drm, files, memfd, virtgpu
from .dmabuf import DmaBuf
from .iommu import iommu

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Found = tuple[bool, str]

FEATURES = {"virgl": 0, "edid": 1, "resource-uuid": 2, "resource-blob": 3, "context-init": 4}
"""Bits of the virtio device."""

# virglrenderer, src/virgl_protocol.h: what makes a resource for a blob
PIPE_RESOURCE_CREATE, PIPE_RESOURCE_WORDS = 48, 11
# virgl_hw.h, p_defines.h: as a display wants its texture, which the host has to allocate as a dma-buf
TEXTURE_2D, B8G8R8X8 = 2, 2
RENDER_TARGET, SAMPLER_VIEW, SCANOUT, SHARED, LINEAR = 1 << 1, 1 << 3, 1 << 18, 1 << 20, 1 << 22
BLOB = 1
WIDTH = 32
"""Pixels in a row of the texture that is tried: a page is a square."""

ANSWERS = 2.0
"""Seconds in which a VMM answers a command; an emulated one takes milliseconds."""


def gpu_capabilities() -> dict[str, Found]:
    """Say what the virtio-gpu of this machine offers; in the guest.

    Of ``resource-blob``, ``virgl``, ``prime-import``, ``resource-uuid``, ``host-visible``, ``host3d-dmabuf``.
    The last one is a blob that was made, mapped and exported here: whether the VMM has it as a dma-buf too,
    its file descriptors tell.
    """
    try:
        fd = virtgpu.open_node()
    except FileNotFoundError:
        return dict.fromkeys(
            ("resource-blob", "virgl", "prime-import", "resource-uuid", "host-visible", "host3d-dmabuf"),
            (False, "the guest has no virtio-gpu"),
        )
    try:
        bits = _features()
        offered = virtgpu.describe(fd)
        params = offered["params"]
        found = {
            "resource-blob": _bit("resource-blob", params["resource_blob"], bits),
            "virgl": _bit("virgl", params["3d"], bits),
            "prime-import": _import(fd),
            "resource-uuid": _bit("resource-uuid", params["cross_device"], bits),
            "host-visible": _window(params["host_visible"]),
        }
        if found["virgl"][0] and not {"virgl", "virgl2"} & set(offered["capsets"]):
            has = ", ".join(offered["capsets"]) or "none"
            found["virgl"] = (False, f"virtio-gpu has 3D, but no virgl capset (it has: {has})")
    finally:
        os.close(fd)
    if found["resource-uuid"][0]:
        found["resource-uuid"] = _said(gpu_export_uuid(4096, keep=False))
    if found["host-visible"][0]:
        found["host3d-dmabuf"] = _said(gpu_host_blob(4096, keep=False))
    else:
        found["host3d-dmabuf"] = found["host-visible"]
    return found


def board_capabilities(device: str, gles: bool = True) -> dict[str, Found]:
    """Say what the board offers beside its VMM: ``usb-disk``, ``iommu-group`` (of ``device``) and ``gles``.

    A device without a group is offered to vfio-pci, for the kernel's words, and has its driver again
    afterwards. ``gles`` starts OpenGL, which takes seconds: leave it out where nobody draws.
    """
    found = {"usb-disk": _usb(), "iommu-group": _group(device)}
    if gles:
        found["gles"] = _gles()
    return found


def gpu_host_blob(size: int, capset: str | None = None, keep: bool = True) -> dict[str, Any]:
    """Try to have the VMM allocate a blob (HOST3D) of at least ``size`` bytes, export it and map it here.

    It is a texture, `WIDTH` pixels of 32 bits in a row. ``capset``: of the context that makes it, by default
    the first of virgl2 and virgl that there is. Answers as `gpu.gpu_blob`, with what the VMM said of a
    refusal in ``message``.
    """
    from .gpu import gpu_blob
    from .kmsg import KernelLog

    fd = virtgpu.open_node()
    try:
        offered = virtgpu.describe(fd)["capsets"]
    finally:
        os.close(fd)
    kind = capset or next((name for name in ("virgl2", "virgl") if name in offered), None)
    size = memfd.whole(size, memfd.PAGE)
    command = texture_command(WIDTH, size // (4 * WIDTH))
    log = KernelLog()
    try:
        answer = gpu_blob(size, mem="host3d", capset=kind, command=command, blob_id=BLOB)
        if answer["stage"] != "done" and (said := vmm_answers(log.lines())):
            answer["message"] += f": {said[0]}"
    finally:
        log.close()
    return _kept(answer, keep)


def gpu_export_uuid(size: int, keep: bool = True) -> dict[str, Any]:
    """Try to make a blob that other virtio devices may find by its UUID, and export it.

    The driver asks the VMM for the UUID (RESOURCE_ASSIGN_UUID) as the blob is made. Answers as
    `gpu.gpu_blob`; stage ``uuid``: the VMM did not give one. ``commands``: what driver and VMM said about it.
    """
    from .gpu import gpu_blob
    from .gputrace import EVENTS, parse
    from .trace import Trace

    trace = Trace("sharelab-uuid", EVENTS)  # one of its own: a test may be recording too
    try:
        trace.start()
        answer = gpu_blob(size, cross_device=True)
        deadline = time.monotonic() + ANSWERS
        while True:
            names = [command["name"] for command in parse(trace.text())]
            said = [name for name in names if name == "ok_resource_uuid" or name.startswith("err_")]
            if said or answer["stage"] != "done" or trace.missing or time.monotonic() > deadline:
                break
            time.sleep(0.02)
    finally:
        trace.close()
    answer["commands"] = names
    if answer["stage"] == "done" and not trace.missing and "ok_resource_uuid" not in said:
        words = f"RESOURCE_ASSIGN_UUID: {', '.join(said) or 'no answer'}"
        answer |= {"stage": "uuid", "errno": errno.ENODEV, "message": words}
    return _kept(answer, keep)


def texture_command(width: int, height: int) -> bytes:
    """Return the virgl command that makes a texture, which is then blob `BLOB` of its context."""
    bind = RENDER_TARGET | SAMPLER_VIEW | SCANOUT | SHARED | LINEAR
    # target, format, bind, width, height, depth, layers, last level, samples, flags, blob
    words = (TEXTURE_2D, B8G8R8X8, bind, width, height, 1, 1, 0, 0, 0, BLOB)
    header = PIPE_RESOURCE_CREATE | PIPE_RESOURCE_WORDS << 16
    return struct.pack(f"<{1 + PIPE_RESOURCE_WORDS}I", header, *words)


def vmm_answers(log: list[str]) -> list[str]:
    """Pick from a kernel log what the VMM refused: virtgpu_vq.c, virtio_gpu_dequeue_ctrl_func."""
    from .gputrace import COMMANDS

    found = []
    for line in log:
        if match := re.search(r"\*ERROR\* response (0x[0-9a-f]+) \(command (0x[0-9a-f]+)\)", line):
            response, command = (COMMANDS.get(int(word, 16), "").upper() or word for word in match.groups())
            found.append(f"the VMM answered {command} with {response}")
    return found


def feature_bits(text: str) -> set[int]:
    """Parse ``features`` of a virtio device, one digit a bit from bit 0 on: drivers/virtio/virtio.c."""
    return {bit for bit, digit in enumerate(text.strip()) if digit == "1"}


def refused(error: OSError) -> str:
    """Say what failed and how, in one line."""
    name = errno.errorcode.get(error.errno or 0, "")
    text = error.strerror or str(error)
    return f"{text} ({name})" if name else text


def _features() -> set[int] | None:
    """Return the bits that device and driver agreed on; ``None`` where sysfs does not say."""
    folder = "/sys/bus/virtio/drivers/virtio_gpu"
    for name in files.listing(folder):
        if (text := files.read_or_none(f"{folder}/{name}/features")) is not None and text:
            return feature_bits(text)
    return None


def _bit(name: str, param: int | None, bits: set[int] | None) -> Found:
    """What kernel and device say of a feature. The device is named where it is the one that lacks it."""
    if param:
        return True, ""
    constant = f"VIRTIO_GPU_F_{name.replace('-', '_').upper()}"
    if bits is None:
        return False, f"virtio-gpu: no {constant}"
    if FEATURES[name] not in bits:
        return False, f"the VMM's virtio-gpu offers no {constant} (bit {FEATURES[name]})"
    return False, f"Linux {os.uname().release} makes nothing of {constant}, which the VMM's virtio-gpu offers"


def _window(param: int | None) -> Found:
    if param:
        return True, ""
    return False, "the VMM's virtio-gpu has no window for host memory (VIRTGPU_PARAM_HOST_VISIBLE is 0)"


def _import(fd: int) -> Found:
    """Import a udmabuf: the one exporter that every kernel here has."""
    memory = memfd.MemFd(4096)
    try:
        buffer = DmaBuf(memory.udmabuf(4096), extra=[memory])
    except (OSError, memfd.UnavailableError) as error:
        memory.close()
        return False, f"nothing to import: {error}"
    try:
        drm.GEM_CLOSE(fd, drm.drm_gem_close(drm.adopt(fd, buffer.fd)))
        return True, ""
    except OSError as error:
        return False, f"virtio-gpu of Linux {os.uname().release}: {refused(error)}"
    finally:
        buffer.close()


def _said(answer: dict[str, Any]) -> Found:
    if answer["stage"] == "done":
        return True, ""
    name = errno.errorcode.get(answer["errno"] or 0, "")
    return False, f"{answer['stage']}: {answer['message']} ({name})"


def _kept(answer: dict[str, Any], keep: bool) -> dict[str, Any]:
    if not keep and "handle" in answer:
        from .buffers import free

        free(answer.pop("handle"))
    return answer


def _usb() -> Found:
    from .usb import usb_disk

    try:
        usb_disk()
        return True, ""
    except OSError as error:
        return False, error.strerror or str(error)


def _group(device: str) -> Found:
    if iommu(device)["group"] is not None:
        return True, ""
    from .vfio import vfio_give_back, vfio_take

    try:
        vfio_take(device)
        vfio_give_back(device)
    except OSError as error:
        return False, error.strerror or str(error)
    return True, ""  # VFIO takes devices without one: CONFIG_VFIO_NOIOMMU


def _gles() -> Found:
    from .egl import EXTENSIONS, GraphicsError
    from .gles import sampler

    wanted = "EGL_EXT_image_dma_buf_import"
    try:
        egl = sampler().egl
    except (OSError, GraphicsError) as error:
        return False, error.strerror or str(error)
    extensions = egl.egl.eglQueryString(egl.display, EXTENSIONS) or b""
    if wanted.encode() in extensions.split():
        return True, ""
    return False, f"EGL of {egl.describe()['renderer']} has no {wanted}"
