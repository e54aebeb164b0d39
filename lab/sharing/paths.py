"""Sharing paths beyond one importer in one kernel: who allocates, who imports, what lies between. A table.

A path's memory is judged by the rules of `lab.sharing.expect`; what it adds to a plain allocator is the
``place`` of that memory (a guest's pages lie on the VMM's pages, so contiguity has to hold on both levels),
what it ``requires`` of kernels, VMM and GPU stack, which is found out at run time, and which ``sources`` of
evidence have to have been there before anybody may say zero-copy.

Sources of the facts: Linux 6.12 and 7.3 (drivers/gpu/drm/virtio, drivers/dma-buf/udmabuf.c, drivers/vfio),
QEMU 10.0 and 11.1 (hw/display/virtio-gpu*.c, hw/virtio/vhost-user.c).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, NamedTuple, Self

from lab.base.errors import LabError
from lab.base.words import Verdict
from lab.sharing.allocators import ALLOCATORS, Allocator, Backing
from lab.sharing.constraints import PAGE, BoardFacts

HUGE = 2 << 20

IOMMU_GROUP = "iommu-group"
"""The one requirement that the verified IOMMU mode answers; a capability of that name gives the wording."""

REQUIREMENTS = {
    "gles": "the board's EGL imports dma-bufs (EGL_EXT_image_dma_buf_import)",
    "usb-disk": "the board has a disk behind a USB host controller",
    "resource-blob": "virtio-gpu has blob resources (VIRTGPU_PARAM_RESOURCE_BLOB)",
    "virgl": "virtio-gpu has 3D and a virgl capset (VIRTGPU_PARAM_3D_FEATURES, VIRTGPU_GET_CAPS)",
    "shared-memory-bar": "the VMM maps a device's memory into a BAR of the guest (QEMU >= 11.1)",
    "guest-exporter": "the guest has a module that exports the BAR as a dma-buf, and it loads",
    "prime-import": "the guest's virtio-gpu imports dma-bufs of others (DRM_IOCTL_PRIME_FD_TO_HANDLE)",
    IOMMU_GROUP: "the decoder is in an IOMMU group, as VFIO demands",
    "resource-uuid": "virtio-gpu exports resources by UUID (VIRTIO_GPU_F_RESOURCE_UUID, CROSS_DEVICE)",
    "host-visible": "virtio-gpu has a window for host memory (VIRTGPU_PARAM_HOST_VISIBLE)",
    "host3d-dmabuf": "a HOST3D blob can be made, mapped, and found as a dma-buf in the VMM",
}
"""What a path may need: name -> how it is found. Nobody types in whether it is there."""


class Capability(NamedTuple):
    """What was found out about one of ``REQUIREMENTS``; ``reason``: in the words of kernel or VMM."""

    present: bool
    reason: str = ""


class Place(StrEnum):
    """Where the memory is that the decoder writes, and from where the decoder is driven."""

    BOARD = "board"  # allocated in the board's kernel
    GPU = "gpu"  # allocated in the board's kernel by the host's GPU stack, as it sees fit
    GUEST_RAM = "guest-ram"  # pages of the guest on pages of the VMM: the guest chose, the host backs
    IN_GUEST = "in-guest"  # the guest's own, and so is the decoder: VFIO maps all guest RAM for it
    MAPPING = "mapping"  # a process's mapping of a dma-buf, which has no struct pages behind it


class Boundary(StrEnum):
    """What lies between who writes and who reads."""

    KERNEL = "same kernel"
    VM = "host/guest"


@dataclass(frozen=True)
class VmmFacts:
    """What was found of VMM, guest and GPU stack in this boot.

    ``capabilities``: of ``REQUIREMENTS``. ``guest``: the guest's memory as the guest sees it (its agent's
    ``facts()``; ``shmem_huge`` decides how its buffers lie in guest-physical memory, so read it when one is
    allocated); None on a board without a guest. ``page``: bytes of the pages on which the VMM put the
    guest's RAM. ``texture``: what the host's GPU stack takes its buffers from.
    """

    capabilities: Mapping[str, Capability] = field(default_factory=dict)
    guest: BoardFacts | None = None
    page: int = PAGE
    texture: Backing = Backing.SHMEM

    def __post_init__(self) -> None:
        if self.page not in (PAGE, HUGE):
            raise ValueError(f"guest RAM on pages of {self.page} bytes")
        if unknown := self.capabilities.keys() - REQUIREMENTS:
            raise ValueError(f"no path requires {', '.join(sorted(unknown))}")

    @classmethod
    def from_raw(
        cls,
        capabilities: Mapping[str, tuple[bool, str]],
        guest: Mapping[str, Any] | None = None,
        *,
        backing: str = "memfd",
        texture: Backing = Backing.SHMEM,
    ) -> Self:
        """``guest``: what the guest agent's ``facts()`` returned. ``backing``: as in a target's ``vmm``."""
        return cls(
            capabilities={name: Capability(*found) for name, found in capabilities.items()},
            guest=BoardFacts.from_raw(guest) if guest is not None else None,
            page=HUGE if backing == "hugetlb" else PAGE,
            texture=texture,
        )

    @property
    def guest_memory(self) -> BoardFacts:
        """The guest's memory. Raises LabError where nobody read it: then nothing can be expected."""
        if self.guest is None:
            raise LabError("the guest's memory was not read, so its path cannot be judged")
        return self.guest

    def lacks(self, name: str) -> str:
        """Why ``name`` is not there; empty where it is. Raises LabError where nobody looked."""
        found = self.capabilities.get(name)
        if found is None:
            raise LabError(f"nobody looked for '{name}' ({REQUIREMENTS[name]})")
        if found.present:
            return ""
        return " ".join(found.reason.split()) or f"no {name}"


@dataclass(frozen=True)
class SharingPath:
    """One row of the matrix.

    ``title``: of the row. ``provider``: who allocates, ``importers``: who attaches or maps, for people.
    ``allocator``: what that memory guarantees at its ``place``. ``requires``: names in ``REQUIREMENTS``,
    the first that is absent is the reason. ``sources``: fields of the evidence without which the path is
    never zero-copy, beside those that every share needs. ``control``: the verdict that a control has to
    come out with where the path would be zero-copy, and ``why`` (one sentence).
    """

    name: str
    title: str
    provider: str
    importers: tuple[str, ...]
    allocator: Allocator
    place: Place = Place.GUEST_RAM
    boundary: Boundary = Boundary.VM
    requires: tuple[str, ...] = ()
    sources: tuple[str, ...] = ("copies", "dmabuf", "canaries", "guest_pages")
    control: Verdict | None = None
    why: str = ""

    def __str__(self) -> str:
        return self.name

    def over(self, allocator: Allocator) -> SharingPath:
        """The same path with other memory of the board's: its title then says which."""
        if self.place is not Place.BOARD:
            raise ValueError(f"{self.name}: its memory is not the board's to choose")
        _, arrow, importer = self.title.partition(" → ")
        title = f"{allocator.title}{arrow}{importer}" if arrow else self.title
        return replace(self, allocator=allocator, title=title)


_GUEST = Allocator("guest-blob", "guest blob", "udmabuf", Backing.SHMEM)
_GUEST_HUGE = Allocator("guest-blob-contig", "guest blob, contiguous", "udmabuf", Backing.HUGETLB)
_GUEST_IMPORT = Allocator("guest-import", "guest udmabuf, imported", "udmabuf", Backing.HUGETLB)
_GPU = Allocator("virgl-texture", "virgl texture", "udmabuf", Backing.SHMEM)
# The host looks where its pages lie (pagemap) and offers only those that the decoder reaches.
_CHOSEN = Allocator("host-blob", "host blob", "udmabuf", Backing.HUGETLB, fitted=True)
_OWN = ALLOCATORS["decoder-mmap"]
_BLOB = ("resource-blob",)

_TABLE = (
    SharingPath(
        "gpu-import", "decoder's own → GPU", "decoder, or any of the board", ("decoder", "GPU"), _OWN,
        place=Place.BOARD, boundary=Boundary.KERNEL, requires=("gles",), sources=("consumer",),
    ),
    SharingPath(
        "guest-blob", "scattered guest blob → decoder", "guest", ("decoder", "guest"), _GUEST,
        requires=_BLOB,
    ),
    SharingPath(
        "guest-blob-contig", "contig. guest blob → decoder", "guest", ("decoder", "guest"), _GUEST_HUGE,
        requires=_BLOB,
    ),
    SharingPath(
        "guest-import", "imported udmabuf → decoder", "guest", ("decoder", "guest"), _GUEST_IMPORT,
        requires=("resource-blob", "prime-import"),
    ),
    SharingPath(
        "virgl-texture", "virgl texture → decoder", "host's GPU stack", ("decoder", "GPU of the guest"), _GPU,
        place=Place.GPU, requires=("virgl",), sources=("copies", "dmabuf", "canaries"),
    ),
    SharingPath(
        "host-blob", "host blob in a BAR → decoder", "host, for the decoder", ("decoder", "guest"), _CHOSEN,
        place=Place.BOARD, requires=("shared-memory-bar", "guest-exporter", "resource-blob"),
        sources=("copies", "canaries", "pages"),
    ),
    SharingPath(
        "vfio-decoder", "guest's decoder → virtio-gpu", "decoder's driver in the guest",
        ("decoder in the guest", "virtio-gpu of the guest"), _OWN,
        place=Place.IN_GUEST, requires=(IOMMU_GROUP, "prime-import"), sources=("copies", "canaries"),
    ),
    SharingPath(
        "usb-pages", "udmabuf, 4K pages → USB disk", "host", ("decoder", "USB host controller"),
        ALLOCATORS["udmabuf-4k"], place=Place.BOARD, boundary=Boundary.KERNEL, requires=("usb-disk",),
        sources=("consumer", "pages"),
    ),
    SharingPath(
        "usb-dmabuf", "dma-buf itself → USB disk", "host", ("decoder", "USB host controller"),
        ALLOCATORS["udmabuf-4k"], place=Place.MAPPING, boundary=Boundary.KERNEL, requires=("usb-disk",),
        sources=("consumer", "pages"),
    ),
    SharingPath(
        "resource-uuid", "resource by UUID → decoder", "host's GPU stack", ("decoder", "guest"), _GPU,
        place=Place.GPU, requires=("resource-uuid",), sources=("copies", "dmabuf", "canaries"),
    ),
    SharingPath(
        "host3d-blob", "HOST3D blob → decoder", "host's GPU stack", ("decoder", "guest"), _GPU,
        place=Place.GPU, requires=("host-visible", "host3d-dmabuf"), sources=("copies", "dmabuf", "canaries"),
    ),
    SharingPath(
        "guest-copied", "control: VMM copies (no blob)", "decoder", ("decoder", "guest"), _OWN,
        place=Place.BOARD, control=Verdict.COPIED,
        why="what is no blob the VMM transfers, every frame (TRANSFER_TO_HOST_2D)",
    ),
    SharingPath(
        "wrong-buffer", "control: another dma-buf", "decoder", ("decoder", "guest"), _OWN,
        place=Place.BOARD, requires=_BLOB, control=Verdict.CORRUPT,
        why="the decoder writes another buffer than the one the guest reads",
    ),
    SharingPath(
        "untraced", "control: VMM's trace is off", "guest", ("decoder", "guest"), _GUEST,
        requires=_BLOB, control=Verdict.INCONCLUSIVE, why="nobody listens to the VMM's transfers",
    ),
)  # fmt: skip

PATHS = {path.name: path for path in _TABLE}
"""Name -> path, in the order of the matrix's rows."""
