"""The process that owns the QEMUs of a rack: ``python -m lab.rack.supervisor DIRECTORY``.

It reads ``plan.json`` in the directory, takes its ports, writes ``state.json``, prints a line and
serves until it is told to end: by SIGTERM, by its URL, or, where the plan names a parent, by that
process's death. All boards are off at its start. Its QEMUs die with it, even by SIGKILL.

Requests (the path's first part is the rack's token):

===========================  ======================================================================
GET /TOKEN/BOARD             ``0`` or ``1``: power, as labgrid's NetworkPowerPort model ``rest`` reads it
PUT /TOKEN/BOARD             body ``0`` or ``1``: switch; answers when done, 500 with QEMU's message
GET /TOKEN/BOARD/snap/KEY    JSON: what was said of the snapshot when it was saved; 404: there is none
PUT /TOKEN/BOARD/snap/KEY    body JSON: save the running board, and this about it; it runs on
POST /TOKEN/BOARD/snap/KEY   switch on and go on from the snapshot; one of no use is removed (500)
DELETE /TOKEN/BOARD/snap/KEY remove the snapshot
GET /TOKEN                   JSON: power, ports and process of every board
DELETE /TOKEN                all boards off, the rack ends
GET /FILES/BOARD/NAME        a file that is staged for the board (HTTPProvider); FILES is no secret
                             that switches anything (layout.files_token)
===========================  ======================================================================
"""

from __future__ import annotations

import asyncio
import hmac
import json
import os
import signal
import socket
import sys
import time
from collections.abc import Awaitable
from http import HTTPStatus
from pathlib import Path

from lab.base import lockfile
from lab.base.errors import ConfigError, SharelabError
from lab.rack.board import Board, listener
from lab.rack.layout import Plan, State, board_directory, files_token, read_plan, write_state
from lab.rack.web import Answer, serve


class Supervisor:
    """The boards of one rack and their URLs."""

    def __init__(self, directory: Path, plan: Plan) -> None:
        """Take all ports.

        Raises ConfigError where one that the plan asks for is taken.
        """
        self._token = plan.token
        self._snapshots = plan.snapshots
        self.over = asyncio.Event()
        self._listener = _take(plan.http_port)
        self._boards: dict[str, Board] = {}
        for board in plan.boards:
            try:
                self._boards[board.name] = Board(board, board_directory(directory, board.name))
            except OSError as error:
                port = f"{board.serial_port} or {board.ssh_port}"
                raise ConfigError(f"port {port} of board {board.name} is in use ({error.strerror})") from None
        self.state = State(
            pid=os.getpid(),
            started=time.time(),
            token=plan.token,
            http_port=self._listener.getsockname()[1],
            boards={name: board.ports for name, board in self._boards.items()},
        )

    async def open(self) -> None:
        """Serve from now on."""
        for board in self._boards.values():
            await board.open()
        await serve(self._listener, self._answer)

    async def close(self) -> None:
        """All boards off."""
        await asyncio.gather(*(board.close() for board in self._boards.values()), return_exceptions=True)

    async def _answer(self, method: str, path: str, body: bytes) -> Answer:
        token, _, name = path.removeprefix("/").partition("/")
        if hmac.compare_digest(token.encode(), files_token(self._token).encode()):
            return self._file(method, name)
        if not hmac.compare_digest(token.encode(), self._token.encode()):
            return Answer(HTTPStatus.NOT_FOUND)
        if not name:
            return self._rack(method)
        name, _, rest = name.partition("/")
        board = self._boards.get(name)
        if board is None:
            return Answer(HTTPStatus.NOT_FOUND, f"no board {name!r} in this rack\n")
        if rest:
            return await self._guarded(self._snapshot(board, method, rest, body))
        if method == "GET":
            return Answer(HTTPStatus.OK, str(int(board.powered)))
        if method == "PUT" and body.strip() in (b"0", b"1"):
            return await self._guarded(self._switch(board, body.strip() == b"1"))
        return Answer(HTTPStatus.BAD_REQUEST, "GET, or PUT with body 0 or 1\n")

    def _file(self, method: str, path: str) -> Answer:
        name, _, file = path.partition("/")
        board = self._boards.get(name)
        found = board.file(file) if board is not None and method == "GET" else None
        return Answer(HTTPStatus.NOT_FOUND) if found is None else Answer(HTTPStatus.OK, file=found)

    def _rack(self, method: str) -> Answer:
        if method == "GET":
            status = {name: board.status() for name, board in self._boards.items()}
            return Answer(HTTPStatus.OK, json.dumps(status), kind="application/json")
        if method == "DELETE":
            self.over.set()
            return Answer(HTTPStatus.ACCEPTED)
        return Answer(HTTPStatus.METHOD_NOT_ALLOWED)

    async def _switch(self, board: Board, on: bool) -> Answer:
        await (board.on() if on else board.off())
        return Answer(HTTPStatus.OK, str(int(on)))

    async def _snapshot(self, board: Board, method: str, path: str, body: bytes) -> Answer:
        from lab.rack.snapshot import KEY, Store

        kind, _, key = path.partition("/")
        if kind != "snap" or not KEY.fullmatch(key):
            return Answer(HTTPStatus.NOT_FOUND)
        store = Store(Path(self._snapshots)) if self._snapshots else Store.of_user()
        if method == "PUT":
            seconds = await board.save(store, key, json.loads(body))
            return Answer(HTTPStatus.OK, json.dumps({"seconds": seconds}), kind="application/json")
        found = board.find(store, key)
        if found is None:
            return Answer(HTTPStatus.NOT_FOUND)
        if method == "POST":
            await board.resume(store, found)
        elif method == "DELETE":
            store.remove(found.key)
        return Answer(HTTPStatus.OK, json.dumps(found.about), kind="application/json")

    @staticmethod
    async def _guarded(action: Awaitable[Answer]) -> Answer:
        try:
            return await action
        except SharelabError as error:
            # labgrid raises requests' HTTPError, which shows the reason and drops the body.
            reason = " | ".join(str(error).splitlines())[:300]
            return Answer(HTTPStatus.INTERNAL_SERVER_ERROR, f"{error}\n", reason)


def _take(port: int) -> socket.socket:
    try:
        return listener(port)
    except OSError as error:
        raise ConfigError(f"port {port} is in use ({error.strerror})") from None


def _end_with(parent: int, over: asyncio.Event) -> None:
    """Set ``over`` when process ``parent`` ends. It must be the one that started this process."""
    try:
        watch = os.pidfd_open(parent)
    except ProcessLookupError:
        over.set()
        return
    # A process that died before pidfd_open may have given its number to another one.
    if os.getppid() != parent:
        over.set()
        return
    asyncio.get_running_loop().add_reader(watch, over.set)


async def supervise(directory: Path) -> None:
    """Run the rack in ``directory`` until it is told to end."""
    plan = read_plan(directory)
    supervisor = Supervisor(directory, plan)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, supervisor.over.set)
    if plan.parent:
        _end_with(plan.parent, supervisor.over)
    await supervisor.open()
    write_state(directory, supervisor.state)
    print("ready", flush=True)
    try:
        await supervisor.over.wait()
    finally:
        await supervisor.close()
        (directory / "state.json").unlink(missing_ok=True)


def main() -> int:
    """Entry point. The first line on stdout is ``ready``, or says why not; exit codes as errors.ExitCode."""
    directory = Path(sys.argv[1])
    try:
        lockfile.take(directory / "lock")
        (directory / "state.json").unlink(missing_ok=True)  # of one that was killed: nobody must find it
        asyncio.run(supervise(directory))
    except SharelabError as error:
        print(error, flush=True)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
