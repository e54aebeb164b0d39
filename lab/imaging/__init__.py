"""From a recipe in ``images/`` to kernel, initramfs, root file system and boot loader, cached by content."""

from lab.imaging.builder import build, find
from lab.imaging.image import Image

__all__ = ["Image", "build", "find"]
