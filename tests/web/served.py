"""A lab that is served: a coordinator, a store with runs, a run that goes on, and ``lab serve`` itself."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from lab.results import Result, Run
from lab.results.folder import RunFolder
from lab.results.model import Cell
from tests.lightlab import TIMEOUT, LightLab, free_port
from tests.results.sample import bad_run, good_run, plan, run

TOKEN = "a token of a test"
HOSTILE = "</pre></script><script>document.title = 'broken into'</script><img src=x onerror=alert(1)>"
RUNNING = "2026-11-23T09-00-00-0001"
MARKUP_RUN = "2026-11-20T10-00-00-0bad"


@dataclass
class Served:
    """``url`` of the pages; ``switched``: what the power switch was told, such as ``/1`` for on."""

    lab: LightLab
    results: Path
    url: str
    switched: list[str] = field(default_factory=list)

    @property
    def running(self) -> RunFolder:
        """The folder of the run that goes on."""
        return RunFolder(self.results / RUNNING)

    def happens(self, **event: Any) -> None:
        """An event of the run that goes on."""
        with self.running.events.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"time": time.time(), "board": "virt-smmu", **event}) + "\n")

    def console(self, text: str) -> None:
        """The board of the run that goes on writes ``text``."""
        with self.running.console("virt-smmu").open("a", encoding="utf-8") as file:
            file.write(text)


def keep(results: Path, about: Run, items: list[Result]) -> RunFolder:
    """The folder of a run, with its log."""
    folder, log = RunFolder.create(about, results)
    for item in items:
        log.write(item)
    log.close()
    return folder


@contextmanager
def served(folder: Path, *, token: str = TOKEN) -> Iterator[Served]:
    """All of it."""
    results = folder / "results"
    keep(results, run(plan(good_run())), bad_run()).publish()
    hostile = [item for item in good_run() if item.target == "virt-cma"][:1]
    values = dict.fromkeys(("path", "place", "reason", "log", "repeat", "soc", "target"), HOSTILE)
    item = Result(
        **{name: getattr(hostile[0], name) for name in Result.__slots__} | values | {"run": MARKUP_RUN}
    )
    keep(results, Run(id=MARKUP_RUN, started=item.started), [item]).publish()
    planned = tuple(
        Cell(test=f"t.py::test_{n}", target="virt-smmu", iommu=item.iommu_asked) for n in range(4)
    )
    keep(results, Run(id=RUNNING, started=item.started, planned=planned), [])

    with LightLab(folder / "lab") as lab, switch() as (address, switched):
        from lab.places import Session, connect

        power = {"NetworkPowerPort": {"model": "simplerest", "host": address, "index": "1"}}
        lab.start_exporter("light", {"rock5b": power, "evk8mq": power})
        session: Session
        with connect(lab.address, user="admin") as session:
            lab.add_places(session, "rock5b", "evk8mq")
            session.set_tags("evk8mq", {"soc": "imx8mq"})
        environment = {**lab.environment, "LAB_TOKEN": token}
        port = free_port()
        words = ["serve", "--listen", f"127.0.0.1:{port}", "--results", str(results)]
        words += ["--store", str(results / "store.sqlite")]
        log = (folder / "serve.log").open("w+")
        process = subprocess.Popen(
            [sys.executable, "-m", "lab.cli", *words], env=environment, stdout=log, stderr=log, text=True
        )
        try:
            _answers(port, process)
            found = Served(lab, results, f"http://127.0.0.1:{port}", switched)
            found.happens(event="plan", target="virt-smmu", cells=4, modes=["off"])
            yield found
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(TIMEOUT)
            log.seek(0)
            said = log.read()
            log.close()
        assert "Traceback" not in said, said


def _answers(port: int, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 2 * TIMEOUT
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.1)


@contextmanager
def switch() -> Iterator[tuple[str, list[str]]]:
    """A power switch with a web interface: its address for labgrid's ``simplerest``, and what it was told."""
    told: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            told.append(self.path)
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"1")

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/{{index}}/{{value}}", told
    finally:
        server.shutdown()
        server.server_close()
