"""The host's end of the agent: calls into a Python process on the board, over labgrid's ssh connection.

execnet is the transport (its gateway runs under ``ssh``, multiplexed on the SSHDriver's master),
`lab.agent.ship` gives what to run there, `lab.agent.server` is the other end of the channel.
"""

from __future__ import annotations

import itertools
import queue
import threading
import time
from typing import Any, Self

import execnet

from lab.agent import ship
from lab.boards.errors import CallError, LostBoardError

PING = 2.0
"""Seconds of silence after which the board is asked whether it is still there."""

SILENCE = 6.0
"""Seconds of silence, pings unanswered, after which the board counts as hung."""


class Agent:
    """Calls functions of lab/agent on the board, one at a time. Not for several threads.

    After a LostBoardError the agent is lost for good: `lost` says why, and each further call fails at once.
    """

    loss: type[LostBoardError] = LostBoardError
    """What a lost one raises."""

    def __init__(self, name: str, group: Any, channel: Any) -> None:
        """Use `start`. ``name`` is the board's, for messages."""
        self._name = name
        self._group = group
        self._channel = channel
        self._numbers = itertools.count(1)
        self.lost: str | None = None

    @classmethod
    def start(cls, name: str, destination: list[str], *, python: str, timeout: float = 20.0) -> Self:
        """Start an agent on the board that ``ssh *destination`` reaches; ``python`` is the interpreter there.

        Errors as for `connect`.
        """
        words = ["-o", "BatchMode=yes", "-o", "LogLevel=QUIET", *destination]
        if unfit := [word for word in [*words, python] if "//" in word or len(word.split()) != 1]:
            raise cls.loss(f"{name}: execnet cannot pass on {unfit[0]!r}", hint="choose another TMPDIR")
        # exec: the user's shell there makes way instead of waiting for its child
        return cls.connect(
            name, f"ssh={' '.join(words)}//ssh_config=/dev/null//python=exec {python}", timeout=timeout
        )

    @classmethod
    def connect(cls, name: str, spec: str, *, timeout: float = 20.0) -> Self:
        """Start an agent at the other end of the execnet specification ``spec``.

        Returns when Python runs there; the sources are on their way. Raises LostBoardError when it
        does not run within ``timeout`` seconds.
        """
        group = execnet.Group()
        outcome: queue.SimpleQueue[Any] = queue.SimpleQueue()

        def open_channel() -> None:
            try:
                channel = group.makegateway(spec).remote_exec(ship.boot_source())
                ship.ship(channel)
                outcome.put(channel)
            except Exception as error:  # execnet lets through whatever its reads and writes raise
                outcome.put(error)

        # In a thread, because makegateway waits for the first byte from there without a limit.
        threading.Thread(target=open_channel, name="agent-start", daemon=True).start()
        try:
            channel = outcome.get(timeout=timeout)
        except queue.Empty:
            raise cls.loss(f"{name}: the agent did not start within {timeout:g} s") from None
        if isinstance(channel, Exception):
            ended = isinstance(channel, OSError | EOFError)  # in execnet's words: cannot send
            why = "the connection ended before Python answered" if ended else repr(channel)
            raise cls.loss(f"{name}: the agent did not start: {why}") from channel
        return cls(name, group, channel)

    def call(self, name: str, *, timeout: float = 60.0, **arguments: Any) -> Any:
        """Call ``name(**arguments)`` on the board and return its value (plain types only, both ways).

        Raises CallError for an exception there; LostBoardError at once when the connection ends,
        after SILENCE when the board hangs, and after ``timeout`` seconds when the call does not end.
        """
        return self.request(name, arguments, timeout=timeout)

    def run(self, argv: list[str], *, timeout: float = 60.0, stdin: bytes = b"") -> dict[str, Any]:
        """Run a program on the board: {rc, stdout, stderr}. It is ended there after ``timeout`` seconds."""
        arguments = {"argv": argv, "timeout": timeout, "stdin": stdin}
        value: dict[str, Any] = self.request("run", arguments, timeout=timeout + SILENCE)
        return value

    def request(self, name: str, arguments: dict[str, Any], *, timeout: float) -> Any:
        """As `call`, for arguments whose names would clash with its own."""
        if self.lost:
            raise self.loss(self.lost)
        number = next(self._numbers)
        self._send((number, name, arguments), name)
        begin = heard = time.monotonic()
        while True:
            wait = min(PING, begin + timeout - time.monotonic())
            try:
                message = self._channel.receive(timeout=max(wait, 0.0))
            except self._channel.TimeoutError:
                now = time.monotonic()
                if now - begin >= timeout:
                    raise self._lose(f"{name} did not end within {timeout:g} s") from None
                if now - heard >= SILENCE:
                    raise self._lose(f"hangs: no answer for {SILENCE:g} s during {name}") from None
                self._send((next(self._numbers), "ping", {}), name)
                continue
            except EOFError:
                raise self._lose(f"connection lost during {name}") from None
            except self._channel.RemoteError as error:
                raise self._lose(f"agent ended during {name}", str(error)) from None
            heard = time.monotonic()
            if message[0] == number:
                return self._value(name, *message[1:])

    def _send(self, message: tuple[int, str, dict[str, Any]], during: str) -> None:
        try:
            self._channel.send(message)
        except OSError:
            raise self._lose(f"connection lost during {during}") from None

    def _lose(self, what: str, detail: str = "") -> LostBoardError:
        self.lost = f"{self._name}: {what}"
        return self.loss(self.lost, detail=detail)

    @staticmethod
    def _value(name: str, outcome: str, value: Any) -> Any:
        if outcome == "ok":
            return value
        raise CallError(
            f"{name}: {value['message']}",
            errno=value["errno"] or 0,
            kind=value["type"],
            detail=value["traceback"],
        )

    def close(self) -> None:
        """End the agent; what it holds open on the board is released there. A lost one is not waited for."""
        self._group.terminate(timeout=0.0 if self.lost else 2.0)
