"""Handles: integers that stand for things kept open on the board between calls."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Protocol

    class Closable(Protocol):
        """Anything with ``close()``; closing twice must do nothing."""

        def close(self) -> None:
            """Release everything."""


class Handles:
    """Table of open objects. No number is used twice: a stale handle is an error, not another object."""

    def __init__(self) -> None:
        self._objects: dict[int, Closable] = {}
        self._last = 0

    def add(self, thing: Closable) -> int:
        """Keep ``thing`` open and return its handle."""
        self._last += 1
        self._objects[self._last] = thing
        return self._last

    def get(self, handle: int) -> Closable:
        """Return the object of a handle; ``LookupError`` if it was closed or never was."""
        try:
            return self._objects[handle]
        except KeyError:
            raise LookupError(
                f"no handle {handle!r} is open on the board (open: {sorted(self._objects)})"
            ) from None

    def close(self, handle: int) -> None:
        """Close one; ``LookupError`` as for `get`."""
        thing = self.get(handle)
        del self._objects[handle]
        thing.close()

    def reset(self) -> list[str]:
        """Close everything, the newest first, also past errors; returns those errors as text."""
        errors = []
        while self._objects:
            handle, thing = self._objects.popitem()
            try:
                thing.close()
            except Exception as error:  # the others must be closed all the same
                errors.append(f"closing handle {handle}: {type(error).__name__}: {error}")
        return errors
