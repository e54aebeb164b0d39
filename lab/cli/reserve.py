"""``lab reserve``, ``lab extend``, ``lab release``: a board for a while, or for one command."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.status import Status
from rich.text import Text

from lab.base import duration, ui
from lab.base.errors import ConfigError
from lab.cli.coordinator import Address, clock, own_lease, seconds_option, who
from lab.cli.ending import Ending

if TYPE_CHECKING:
    from lab.places import Lease, Waiting

DEFAULT_HOLD = "1h"
LOST = 3


def reserve(
    ctx: typer.Context,
    filters: Annotated[
        list[str],
        typer.Argument(metavar="TAG=VALUE", help="What the board must be; name=PLACE: that one."),
    ],
    hold: Annotated[
        str | None,
        typer.Option("--for", metavar="TIME", help="Yours for this long: 90s, 30m, 2h (default 1h)."),
    ] = None,
    wait: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="Wait at most this long (default: until you get one)."),
    ] = None,
    priority: Annotated[
        float, typer.Option(help="Served before lower ones; ten minutes of waiting count as 1.")
    ] = 0.0,
    reason: Annotated[str, typer.Option(metavar="TEXT", help="What for: others see it in lab boards.")] = "",
    coordinator: Address = None,
) -> None:
    """Wait for a board and take it, for a time or for one command.

    With a command, the board is yours while that runs, in an environment in which labgrid works on it
    (LG_PLACE, LG_COORDINATOR, LG_HOSTNAME, LG_USERNAME); the exit code is the command's, or 3 where the
    board was lost under it.

    Examples:
      lab reserve soc=rk3588 --for 2h --wait 30m
      lab reserve name=rock5b-1 -- labgrid-client console
    """
    from lab.places import connect, reminder

    command: list[str] = ctx.meta["command"]
    if command and hold is not None:
        raise ConfigError("--for and a command exclude each other", hint="the board is yours while it runs")
    seconds = None if command else duration.seconds(hold or DEFAULT_HOLD)
    if seconds is not None and seconds < 1:
        raise ConfigError("--for wants a span of time, such as 2h")
    asked = tags(filters)
    ending = Ending()  # a cancelled CI job leaves the queue, and gives back what it has
    with connect(coordinator) as session, Progress(asked, ending.check) as progress:
        lease = session.reserve(
            asked,
            wait=seconds_option(wait),
            hold=seconds,
            reason=reason or (" ".join(command) if command else ""),
            priority=priority,
            on_wait=progress.show,
        )
        progress.stop()
        if command:
            raise typer.Exit(_with_command(lease, command))
        lease.note()
        reminder.start(session.address, lease.place, lease.holder, lease.until.timestamp())
        ui.out.print(
            f"{lease.place} is yours until {clock(lease.until)}.  "
            "lab shell · lab console · lab power cycle · lab extend 1h · lab release",
            soft_wrap=True,
        )


def _with_command(lease: Lease, command: list[str]) -> int:
    from lab.places.hold import run_command

    def say(text: str) -> None:
        ui.err.print(f"lab: {text}", soft_wrap=True)

    ui.err.print(f"{lease.place} is yours while the command runs", style="dim", soft_wrap=True)
    with lease:
        status = run_command(lease, command, say)
        lost = lease.lost.is_set()
    return LOST if lost else status


class Progress:
    """What one who waits sees: one line that changes on a terminal, a line for each change elsewhere."""

    def __init__(self, asked: dict[str, str], check: Callable[[], None]) -> None:
        """``check`` may raise, which ends the waiting."""
        self._asked = " ".join(f"{key}={value}" for key, value in asked.items())
        self._status: Status | None = None
        self._said = ""
        self._started = time.monotonic()
        self._check = check

    def show(self, waiting: Waiting) -> None:
        """Say where one stands."""
        self._check()
        text = self._words(waiting)
        if ui.err.is_terminal:
            if self._status is None:
                self._status = Status("", console=ui.err)
                self._status.start()
            waited = duration.written(time.monotonic() - self._started)
            self._status.update(Text.assemble(text, (f"  {waited}", "dim")))
        elif text != self._said:
            self._said = text
            ui.err.print(text, soft_wrap=True)

    def _words(self, waiting: Waiting) -> str:
        from lab.cli.boards import ordinal

        start = f"waiting for {self._asked}: "
        place = f"you are {ordinal(waiting.position)}" if waiting.position else "you wait"
        if waiting.note:
            return f"{start}{place}; no live board satisfies it now: {waiting.note}"
        if waiting.free_at:
            name, moment = waiting.free_at
            return f"{start}{place}, {name} is free at {clock(moment)} at the latest"
        return f"{start}{place}"

    def stop(self) -> None:
        """The wait is over."""
        if self._status is not None:
            self._status.stop()
            self._status = None

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *_: Any) -> None:
        self.stop()


def extend(
    time_: Annotated[str, typer.Argument(metavar="TIME", help="This much longer: 30m, 1h.")],
    place: Annotated[
        str | None, typer.Argument(metavar="PLACE", help="The board, where you hold more than one.")
    ] = None,
    coordinator: Address = None,
) -> None:
    """Move the end of your lease."""
    from lab.places import connect

    note = own_lease(coordinator, place)
    with connect(note.coordinator) as session:
        lease = session.adopt(note)
        lease.extend(duration.seconds(time_))
        ui.out.print(f"{lease.place} is yours until {clock(lease.until)}.")
        others = sum(session.place(lease.place).suits(one.filters) for one in session.waiting())
        if others:
            ui.out.print(f"{others} {'waits' if others == 1 else 'wait'} for it.")


def release(
    places: Annotated[
        list[str] | None, typer.Argument(metavar="PLACE", help="By default the one that you hold.")
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="All that you hold from this machine.")] = False,
    kick: Annotated[bool, typer.Option("--kick", help="Take it from whoever holds it, at once.")] = False,
    reason: Annotated[str, typer.Option(metavar="TEXT", help="With --kick: what they are told.")] = "",
    coordinator: Address = None,
) -> None:
    """Give your board back, so that the next one gets it."""
    from lab.places import LeaseLostError, connect, notes
    from lab.places.address import coordinator_address

    if kick:
        if not places:
            raise ConfigError("--kick wants the place's name", hint="lab boards shows them")
        with connect(coordinator) as session:
            for name in places:
                holder = session.kick(name, reason)
                ui.out.print(
                    f"{name} was taken from {who(holder)}." if holder else f"{name} is free already."
                )
        return
    if everything:
        found = notes.all_notes(coordinator_address(coordinator))
    else:
        names: list[str | None] = [*places] if places else [None]
        found = [own_lease(coordinator, name) for name in names]
    if not found:
        ui.out.print("you hold no board from this machine.")
        return
    with connect(found[0].coordinator) as session:
        for note in found:
            try:
                session.adopt(note).release()
                ui.out.print(f"{note.place} is free.")
            except LeaseLostError as error:
                ui.out.print(f"{note.place}: {error}", soft_wrap=True)


def tags(words: list[str]) -> dict[str, str]:
    """``TAG=VALUE`` words as a filter. Raises ConfigError."""

    found: dict[str, str] = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not equals or not key or not value:
            raise ConfigError(f"'{word}' is not TAG=VALUE", hint=f"name={word} means the place of that name")
        found[key] = value
    return found
