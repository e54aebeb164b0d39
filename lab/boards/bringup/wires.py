"""The steps before Linux: power, serial line, boot loader, its network."""

from __future__ import annotations

import contextlib
import os
import re
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pexpect

from lab.boards.bringup.bench import Bench, printable
from lab.boards.bringup.step import RedError, Step
from lab.boards.reach import unreachable
from lab.boards.served import offer

QUIET = 1.5
"""Seconds that a board without power is listened to."""

SPEEDS = (115200, 1500000, 921600, 460800, 57600, 38400, 9600)
"""Baud rates of boards' consoles, the usual ones first."""

SAMPLE = 64
"""Bytes of the file that the boot loader gets."""


def power(bench: Bench) -> str:
    """Off means off: the outlet says so, the console is dead, the network too; on is believed so far."""
    with _reaching("the outlet"):
        bench.switch(False)
        if bench.powered():
            raise RedError("switched off, but the outlet says that it is on")
    heard = _heard_without_power(bench)
    if heard:
        raise RedError(f"switched off, but the console still talks: {_shown(heard)}", _other_outlet(bench))
    if service := _answers(bench):
        raise RedError(f"switched off, but {service} still answers", _other_outlet(bench))
    with _reaching("the outlet"):
        bench.switch(True)
        said = bench.powered()
    if said is False:
        raise RedError("switched on, but the outlet says that it is off")
    told = "the outlet cannot be asked" if said is None else "the outlet agrees"
    dead = "console and network are dead" if heard is not None else "the network is dead"
    return f"off: {dead}; on: {told}"


def serial(bench: Bench) -> str:
    """The console talks after the power-on, in letters; at another speed than asked where that is why."""
    with _reaching("the console's serial port"):
        heard = bench.hear(bench.silence)
    if not heard:
        raise RedError(f"the console said nothing for {bench.silence:g} s after the power was switched on")
    port = bench.strategy.console.port
    if printable(heard):
        bench.facts["speed"] = port.speed
        return f"talks {_speed(port)}: {_shown(heard)}"
    if getattr(port, "protocol", "") == "raw":
        raise RedError("the console talks, but not in letters", "its speed is set where the adapter is")
    for speed in SPEEDS:
        if speed != port.speed and printable(_at(bench, speed)):
            bench.facts["speed"] = speed
            raise RedError(
                f"the console talks at {speed} baud, not at {port.speed}",
                f"set speed: {speed} at the place's USBSerialPort, and in boot.console",
            )
    raise RedError("the console talks, but not in letters at any usual speed")


def loader(bench: Bench) -> str:
    """The boot loader stops at its prompt, and answers there."""
    driver = bench.strategy.uboot
    try:
        bench.strategy.transition("uboot")
    except pexpect.TIMEOUT:
        wanted = f"no prompt '{driver.prompt}' within {driver.login_timeout} s"
        raise RedError(f"{wanted} of the power-on") from None
    lines = bench.strategy.uboot.run_check("version")
    found = next((line.strip() for line in lines if line.strip()), "")
    bench.facts["loader"] = found
    return f"prompt after {bench.strategy.times['uboot']:.1f} s: {found}"


def network(bench: Bench) -> str:
    """The boot loader gets an address, and a small file."""
    strategy, boot = bench.strategy, bench.target.boot
    limit = boot.timeouts.load
    for command in boot.network:
        lines, _, status = strategy.uboot.run(command, timeout=limit)
        if status:
            raise RedError(f"'{command}' failed: {_last(lines)}")
    tftp = bench.activate(strategy.tftp)
    with tempfile.TemporaryDirectory(prefix="lab-") as folder:
        sample = Path(folder) / f"{bench.target.name}.sample"
        sample.write_bytes(os.urandom(SAMPLE))
        staged = offer(tftp, sample)
        lines, _, status = strategy.uboot.run(f"tftpboot {boot.kernel} {staged}", timeout=limit)
    if status or f"Bytes transferred = {SAMPLE} " not in " ".join(lines):
        said = next((line.strip() for line in lines if "error" in line.lower()), _last(lines))
        raise RedError(f"tftpboot of {staged}, {SAMPLE} bytes, failed: {said}")
    server = next((found[1] for line in lines if (found := re.search(r"from server ([\d.]+)", line))), "?")
    address = next(
        (found[1] for line in lines if (found := re.search(r"our IP address is ([\d.]+)", line))), "?"
    )
    bench.facts["address"] = address
    return f"{address}, TFTP from {server}"


@contextlib.contextmanager
def _reaching(what: str) -> Iterator[None]:
    """Say of equipment that is out of reach what it is."""
    try:
        yield
    except Exception as error:  # labgrid's drivers have no common root
        if why := unreachable(error):
            raise RedError(f"{what} is out of reach: {why}") from error
        raise


def _heard_without_power(bench: Bench) -> bytes | None:
    """What the console says; None where it is out of reach, which is for the serial line's step to tell."""
    try:
        bench.forget_console()
        bench.strategy.console.write(b"\r")  # what idles at a prompt is silent until it is asked
        return bench.hear(QUIET)
    except Exception as error:
        if not unreachable(error):
            raise
        return None


def _at(bench: Bench, speed: int) -> bytes:
    """What the console says after a power-on when it is read at ``speed``."""
    bench.switch(False)
    bench.strategy.console.serial.baudrate = speed
    bench.forget_console()
    bench.switch(True)
    return bench.hear(bench.silence)


def _answers(bench: Bench) -> str:
    """The board's ssh service where it accepts connections; "" where not."""
    service: Any = bench.strategy.ssh.networkservice
    with contextlib.suppress(OSError), socket.create_connection((service.address, service.port), timeout=1.0):
        return f"ssh at {service.address}:{service.port}"
    return ""


def _other_outlet(bench: Bench) -> str:
    port = type(bench.strategy.power).__name__
    return (
        f"{port} switches another outlet or relay than this board's, or a second supply feeds it (USB, PoE)"
    )


def _speed(port: Any) -> str:
    return "over a raw connection" if getattr(port, "protocol", "") == "raw" else f"at {port.speed} baud"


def _shown(data: bytes) -> str:
    lines = [line.strip() for line in data.decode(errors="replace").splitlines() if line.strip()]
    return f"'{lines[0][:60]}'" if lines else "an empty line"


def _last(lines: list[str]) -> str:
    said = [line.strip() for line in lines if line.strip()]
    return said[-1] if said else "nothing was said"


STEPS = (
    Step(
        "power",
        (),
        power,
        (
            "switch by hand: lab power off, lab power on, and look at the board's LED",
            "host, model and index of the power port in lab.yaml are those of this board's outlet",
        ),
    ),
    Step(
        "serial",
        ("power",),
        serial,
        (
            "is the board lit? if not, its supply: plug, switch, or the outlet of another board",
            "the board's TX to the adapter's RX and the reverse, ground to ground, 1.8 V or 3.3 V alike",
            "the adapter in lab.yaml is this board's (lab doctor shows them), nobody else has it open",
        ),
    ),
    Step(
        "loader",
        ("serial",),
        loader,
        (
            "a vendor's boot loader may not wait for a key: put U-Boot on its SD card, with bootdelay >= 1",
            "UBootDriver's prompt and autoboot (targets/NAME.yaml) are what the console shows above",
        ),
    ),
    Step(
        "network",
        ("loader",),
        network,
        (
            "cable and switch: both LEDs of the socket; is there a DHCP server on this network?",
            "the TFTP server serves and may read TFTPProvider's folder internal; external is its path there",
            "serverip comes by DHCP (next-server), or add setenv serverip ADDRESS to boot.network",
        ),
    ),
)
