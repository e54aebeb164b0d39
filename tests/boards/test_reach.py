"""Equipment that is out of reach is told from a board that is silent: real sockets, labgrid's backends."""

from __future__ import annotations

import http.server
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pexpect
import pytest
import requests
import serial
from labgrid.driver.power import rest

from lab.boards.reach import unreachable
from tests.lightlab import free_port

SECRET = "secret-of-a-rack"


def reason(port: int) -> str:
    with pytest.raises(Exception) as caught:  # noqa: PT011 - whatever labgrid's backend lets through
        rest.power_get(f"http://127.0.0.1:{port}/{SECRET}", None, "0")
    return unreachable(caught.value)


@contextmanager
def server(answer: bool) -> Iterator[int]:
    """Answers every request with status 500, or hangs up."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if answer:
                self.send_error(500)
            else:
                self.close_connection = True

        def log_message(self, *_: object) -> None:
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as served:
        threading.Thread(target=served.serve_forever, daemon=True).start()
        yield served.server_port
        served.shutdown()


def test_a_switch_that_nobody_serves_is_out_of_reach():
    assert reason(free_port()) == "Connection refused"


def test_a_switch_behind_a_tunnel_that_is_cut_is_out_of_reach():
    with server(answer=False) as port:
        found = reason(port)
    assert "closed connection" in found
    assert SECRET not in found


def test_a_switch_that_refuses_is_not_out_of_reach():
    with server(answer=True) as port:
        assert reason(port) == ""


def test_a_serial_line_that_nobody_serves_is_out_of_reach():
    with pytest.raises(serial.SerialException) as caught:
        serial.serial_for_url(f"socket://127.0.0.1:{free_port()}/")
    assert unreachable(caught.value) == "Connection refused"


def test_a_serial_line_that_ends_is_out_of_reach():
    with socket.create_server(("127.0.0.1", 0)) as listening:
        line = serial.serial_for_url(f"socket://127.0.0.1:{listening.getsockname()[1]}/", timeout=5)
        listening.accept()[0].close()
        with pytest.raises(serial.SerialException) as caught:
            line.read(1)
        line.close()
    assert unreachable(caught.value)


@pytest.mark.parametrize(
    "error", [pexpect.TIMEOUT("silent"), FileNotFoundError(2, "no image"), ValueError("?")]
)
def test_everything_else_is_not(error: Exception):
    assert unreachable(error) == ""


def test_a_request_that_is_no_request_is_not():
    with pytest.raises(requests.RequestException) as caught:
        rest.power_get("nonsense", None, "0")
    assert unreachable(caught.value) == ""
