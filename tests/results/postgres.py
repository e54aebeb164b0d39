"""A PostgreSQL server of a test's own, in a folder of its own, that can be stopped and started again."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path


def programs() -> Path:
    """The folder with PostgreSQL's server programs; Debian keeps them out of PATH."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/pg_ctl"), key=lambda path: float(path.parts[4]))
    if found:
        return found[-1].parent
    there = shutil.which("pg_ctl")
    assert there, "PostgreSQL is missing; `bootstrap.sh test` installs it"
    return Path(there).parent


class Server:
    """``address``: where it listens for TCP; the port is free when the object is made."""

    def __init__(self, folder: Path, address: str, inside: Sequence[str]) -> None:
        """``inside``: the beginning of commands that run in another network namespace."""
        self.folder = folder
        self._inside = inside
        self.address = address
        # PostgreSQL does not run as root.
        self._user: list[str] = []
        if os.getuid() == 0:
            self._user = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"]
            shutil.chown(folder, "postgres", "postgres")
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self._run("initdb", "-D", str(folder / "data"), "-U", "lab", "-A", "trust", "--no-sync", "-E", "UTF8")
        hosts = folder / "data" / "pg_hba.conf"
        hosts.write_text("local all all trust\nhost all all all trust\n")

    def start(self) -> None:
        """Start it and wait until it answers."""
        options = f"-c listen_addresses={self.address} -p {self.port} -k {self.folder} -c fsync=off"
        log = str(self.folder / "log")
        self._run(
            "pg_ctl", "start", "-w", "-t", "60", "-D", str(self.folder / "data"), "-l", log, "-o", options
        )

    def stop(self, mode: str = "fast") -> None:
        """Stop it; ``immediate``: as if it had crashed."""
        self._run("pg_ctl", "stop", "-w", "-t", "60", "-m", mode, "-D", str(self.folder / "data"))

    def new_database(self, name: str) -> str:
        """Make an empty database; its URL."""
        self._run("createdb", "-h", str(self.folder), "-p", str(self.port), "-U", "lab", name)
        return f"postgresql://lab@{self.address}:{self.port}/{name}"

    def query(self, database: str, statement: str) -> int:
        """The one number that a statement gives."""
        words = ["-h", str(self.folder), "-p", str(self.port), "-U", "lab", "-d", database, "-Atc", statement]
        return int(self._run("psql", *words))

    def _run(self, program: str, *words: str) -> str:
        with tempfile.TemporaryFile() as output:  # the server keeps it open, so a pipe would never end
            done = subprocess.run(
                [*self._inside, *self._user, str(programs() / program), *words],
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                timeout=120,
                check=False,
            )
            output.seek(0)
            said = output.read().decode(errors="replace")
        assert done.returncode == 0, f"{program}: {said}"
        return said


@contextmanager
def running(address: str = "127.0.0.1", inside: Sequence[str] = ()) -> Iterator[Server]:
    """A started server; everything of it is gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="lab-postgres-", ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o755)
        server = Server(Path(folder), address, inside)
        server.start()
        try:
            yield server
        finally:
            server.stop("immediate")
