"""A board as a bring-up has it: labgrid's drivers for it one by one, and what was found out so far."""

from __future__ import annotations

import contextlib
import re
import time
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import pexpect

from lab.base.words import IommuMode
from lab.boards.environment import opened
from lab.boards.target import Target

if TYPE_CHECKING:
    from lab.boards.agent import Agent


class Bench:
    """One board under bring-up. Use as a context manager: it is switched off at the end."""

    def __init__(self, environment: Path, target: Target, *, name: str = "") -> None:
        """Take the board that the labgrid ``environment`` describes; nothing is switched yet.

        Raises ConfigError where labgrid cannot build it, LabError where its coordinator cannot be reached.
        """
        from lab.boards.console import ConsoleLog

        if target.check_bootable().boot.loader != "u-boot":
            raise target.error(
                ("boot", "loader"),
                f"lab bringup walks through U-Boot, and {target.name} boots by {target.boot.loader}",
                hint="lab boot, lab console and lab run do without",
            )
        self.target = target
        self.name = name or target.name
        self.agent: Agent | None = None
        self.facts: dict[str, Any] = {}
        """What the board said of itself, by the words of `proposal`."""
        self.failed_after: tuple[str, Exception] | None = None
        """The stage of the first boot after which it failed, and how."""
        self._environment, self.strategy = opened(environment, self.name)
        self.console = ConsoleLog(self.strategy.console)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.drop_agent()
        for action in (lambda: self.strategy.transition("off"), self._environment.cleanup):
            with contextlib.suppress(Exception):  # it may be what is broken
                action()
        self.console.close()

    @property
    def silence(self) -> float:
        """Seconds after which a console that says nothing counts as silent."""
        return self.target.boot.timeouts.silence

    def activate(self, driver: Any) -> Any:
        """``driver``, active."""
        self.strategy.target.activate(driver)
        return driver

    def switch(self, on: bool) -> None:
        """Switch the power, once."""
        power = self.activate(self.strategy.power)
        power.on() if on else power.off()

    def powered(self) -> bool | None:
        """What the outlet says of itself; None where its driver cannot ask."""
        get = getattr(self.activate(self.strategy.power), "get", None)
        return None if get is None else bool(get())

    def hear(self, seconds: float) -> bytes:
        """What the console says within ``seconds``; returns soon after its first words."""
        console = self.activate(self.strategy.console)
        heard, end = b"", time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            try:
                heard += console.read(size=1, timeout=min(left, 0.25))
            except pexpect.TIMEOUT:
                continue
            end = min(end, time.monotonic() + 0.5)
        return heard

    def forget_console(self) -> None:
        """Leave unread what the console has said by now."""
        self.activate(self.strategy.console)
        self.console.drain()

    def drop_agent(self) -> None:
        """The board goes: let go of the agent on it."""
        agent, self.agent = self.agent, None
        if agent is not None:
            agent.close()

    def asked(self) -> Agent:
        """The agent on the board."""
        assert self.agent is not None, "a step that asks the board needs the agent's"
        return self.agent

    def boot(self, mode: IommuMode) -> None:
        """Bring Linux up in ``mode``; a failure after Linux was up is kept for the step that is about ssh."""
        self.drop_agent()
        self.strategy.iommu = str(mode)
        self.failed_after = None
        try:
            self.strategy.transition("linux")
        except Exception as error:  # see step.run
            if "linux" not in self.strategy.times:
                raise
            self.failed_after = "linux", error

    def start_agent(self) -> None:
        """Start the agent on the booted board. Raises LostBoardError, or what ssh failed with."""
        from lab.boards.agent import Agent

        if self.failed_after is not None:
            raise self.failed_after[1]
        destination = self.strategy.ssh_destination()
        self.agent = Agent.start(self.name, destination, python=self.target.boot.python)
        self.facts["hello"] = self.agent.call("hello", timeout=20)

    def load_modules(self) -> None:
        """Load the target's modules. Raises CallError."""
        for module, parameters in self.target.modules.items():
            params = {name: list(v) if isinstance(v, tuple) else v for name, v in parameters.items()}
            self.asked().call("load", module=module, params=params)


def printable(data: bytes) -> bool:
    """Whether ``data`` looks like text: at a wrong speed a serial line gives bytes of all kinds."""
    text = re.sub(rb"\x1b\[[0-9;?]*[A-Za-z]", b"", data)
    fine = sum(32 <= byte < 127 or byte in b"\r\n\t\x08\x07\x1b" for byte in text)
    return bool(text) and fine >= 0.9 * len(text)
