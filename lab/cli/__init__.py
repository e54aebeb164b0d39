"""The ``lab`` command."""

from lab.cli.app import main

__all__ = ["main"]
