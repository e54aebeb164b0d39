"""A board whose place names no target: console and power by its resources, nothing that has to boot it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from lab.places import connect
from tests.lightlab import LightLab


class Outlet(BaseHTTPRequestHandler):
    """A power switch as labgrid's model ``rest`` has it."""

    on = b"0"

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(Outlet.on)

    def do_PUT(self) -> None:
        Outlet.on = self.rfile.read(int(self.headers["Content-Length"]))
        self.do_GET()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[LightLab]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Outlet) as outlet, LightLab(tmp_path) as found:
        threading.Thread(target=outlet.serve_forever, daemon=True).start()
        power = {"model": "rest", "host": f"http://127.0.0.1:{outlet.server_port}/", "index": "0"}
        service = {"address": "127.0.0.1", "username": "root", "port": 9}
        found.start_exporter(
            "light", {"one": {"NetworkPowerPort": power}, "two": {"NetworkService": service}}
        )
        found.start_janitor()
        with connect(found.address) as session:
            found.add_places(session, "one", "two")
        for place in ("one", "two"):
            found.lab_says("reserve", f"name={place}", "--for", "1h", "--wait", "20s")
        yield found
        outlet.shutdown()


def test_power_and_what_is_not_there(lab: LightLab):
    assert lab.lab_says("power", "on", "one") == "one: power on\n"
    assert Outlet.on == b"1"
    assert "place two has no power: it offers NetworkService" in lab.lab_says("power", "on", "two", status=3)
    assert "place one has no console" in lab.lab_says("console", "one", status=3)
    assert "place one has no target, which says how to boot it" in lab.lab_says("boot", "one", status=2)
    assert "place one offers no NetworkService for ssh" in lab.lab_says("shell", "one", status=3)
    assert "Connection refused" in lab.lab_says("shell", "two", status=255)
