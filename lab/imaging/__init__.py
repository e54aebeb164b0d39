"""From a recipe in ``images/`` to kernel, initramfs, root file system and boot loader, cached by content."""

from lab.imaging.build import Image, build

__all__ = ["Image", "build"]
