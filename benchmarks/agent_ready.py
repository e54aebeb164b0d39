"""How much the lab costs beside the bare thing, measured in one run, as ratios.

1. Boot: a minimal expect script that netboots the same image (its own QEMU, U-Boot commands, no
   labgrid) against `lab run`, from the start of its process until the agent on the board has answered its
   first call, and until the IOMMU mode is verified there. In turn, N times. `lab run` sends the kernel
   compressed, a plain script does not; what that alone brings a third row tells: the same script, told to.
2. Round trip: one byte through `ssh ... cat`, a call of the agent, labgrid's ssh.run("true") and
   shell.run("true"), on one booted board.

    .venv/bin/python benchmarks/agent_ready.py [--boots 3] [--calls 300] [--target virt-smmu]
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import pexpect

from lab.base.words import IommuMode
from lab.boards import Board, load_target
from lab.imaging import build
from lab.rack import Machine, Rack
from lab.rack.command import arguments
from lab.rack.layout import BoardPlan

SSH = ["ssh", "-F", "none", "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null"]
SSH += ["-o", "LogLevel=ERROR"]


def bare_boot(target, image, rack: Rack, *, packed: bool = False) -> tuple[float, float]:
    """Seconds to the ready line, and to the first answer of a Python on the board over ssh."""
    load = "tftpboot ${kernel_addr_r} kernel"
    if packed:
        load = f"tftpboot {target.boot.packed} kernel; unzip {target.boot.packed} ${{kernel_addr_r}}"
    machine = Machine.model_validate(target.virtual)
    with tempfile.TemporaryDirectory() as folder:
        shutil.copy(image.packed if packed else image.kernel, Path(folder, "kernel"))
        initrd = image.initrd.read_bytes()
        padding = b"\0" * (-len(initrd) % 4)
        Path(folder, "initrd").write_bytes(initrd + padding + rack.boot_files.read_bytes())
        port = rack.state.boards[target.name].ssh
        plan = BoardPlan(
            name="bare",
            **machine.model_dump(),
            uboot=str(image.uboot),
            squashfs=str(image.squashfs),
            serial_port=0,
            ssh_port=port,
        )
        words = arguments(plan, tftp=Path(folder), console=0, qmp=0)
        # The same machine with its console on stdin and stdout.
        at = words.index("-chardev")
        words[at : at + 8] = ["-serial", "stdio"]
        began = time.monotonic()
        child = pexpect.spawn("qemu-system-aarch64", words, timeout=60)
        child.expect("Hit any key")
        child.send("\n")
        child.expect("=> ")
        child.sendline(
            f"setenv autoload no; dhcp; {load}; tftpboot ${{ramdisk_addr_r}} initrd; "
            f"setenv bootargs 'console=ttyAMA0 {target.boot.cmdline}'; "
            "booti ${kernel_addr_r} ${ramdisk_addr_r}:${filesize} ${fdtcontroladdr}"
        )
        child.expect("LAB-READY")
        ready = time.monotonic() - began
        command = [*SSH, "-i", str(rack.keyfile), "-p", str(port), "root@127.0.0.1", "python3 -c 'print(1)'"]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, timeout=60)
        answer = time.monotonic() - began
        child.close(force=True)
        return ready, answer


def lab_boot(target, scratch: Path) -> tuple[float, float]:
    """Seconds from the start of the `lab run` process to the agent's first answer, and to the verified mode.

    Both by the clock of the board's process, which notes its stages.
    """
    command = [
        sys.executable,
        "-m",
        "lab.cli",
        "run",
        "board",
        "--target",
        target.name,
        "--iommu",
        "translated",
    ]
    began = time.time()
    process = subprocess.Popen(
        [*command, "--results", str(scratch)], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
    )
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith("board ") and "agent" in line:
            break
    else:
        raise SystemExit("lab run ended without a booted board")
    process.send_signal(signal.SIGINT)
    process.stderr.read()
    process.wait(timeout=60)
    events = map(json.loads, (scratch / "latest" / "events.jsonl").read_text().splitlines())
    booted = next(event for event in events if event["event"] == "booted")
    verified = booted["time"] - began
    return verified - (booted["times"]["verified"] - booted["times"]["agent"]), verified


def median_of(action: Callable[[], object], count: int) -> float:
    """Median seconds of ``count`` calls, after one that does not count."""
    action()
    times = []
    for _ in range(count):
        began = time.perf_counter()
        action()
        times.append(time.perf_counter() - began)
    return statistics.median(times)


def round_trips(target, image, rack: Rack, folder: Path, calls: int) -> dict[str, float]:
    """Median seconds of each way to ask the board something."""
    environment = target.write_environment(
        folder,
        resources=rack.resources(target.name),
        image=image,
        keyfile=rack.keyfile,
        boot_files=rack.boot_files,
    )
    with Board.open(environment, target, image) as board:
        board.boot(IommuMode.TRANSLATED)
        strategy = board._strategy
        echo = subprocess.Popen(
            ["ssh", "-F", "none", *strategy.ssh_destination(), "cat"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
        )
        assert echo.stdin is not None
        assert echo.stdout is not None

        def echo_byte() -> None:
            echo.stdin.write(b"x")
            assert echo.stdout.read(1) == b"x"

        from labgrid.driver import ShellDriver

        shell = ShellDriver(
            strategy.target, "shell", prompt="lab# ", login_prompt="login: ", username="root", login_timeout=5
        )
        strategy.target.activate(shell)
        found = {
            "one byte by ssh cat": median_of(echo_byte, calls),
            "agent call (hello)": median_of(lambda: board.agent.call("hello"), calls),
            "agent call (ping)": median_of(lambda: board.agent.call("ping"), calls),
            'labgrid ssh.run("true")': median_of(lambda: strategy.ssh.run("true"), max(5, calls // 20)),
            'labgrid shell.run("true")': median_of(lambda: shell.run("true"), max(5, calls // 20)),
        }
        echo.stdin.close()
        echo.wait(timeout=10)
        return found


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--target", default="virt-smmu")
    parser.add_argument("--boots", type=int, default=3)
    parser.add_argument("--calls", type=int, default=300)
    options = parser.parse_args()
    target = load_target(options.target)
    image = build(target.image)
    folder = Path(tempfile.mkdtemp(prefix="lab-bench-"))
    os.environ["PYTHONUNBUFFERED"] = "1"
    try:
        machine = Machine.model_validate(target.virtual)
        with Rack.start({target.name: machine}, image=image, directory=folder / "rack") as rack:
            bare, told, lab = [], [], []
            for _ in range(options.boots):
                bare.append(bare_boot(target, image, rack))
                told.append(bare_boot(target, image, rack, packed=True))
                lab.append(lab_boot(target, folder / "results"))
            trips = round_trips(target, image, rack, folder, options.calls)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    (ready, python), (agent, verified) = zip(*bare, strict=True), zip(*lab, strict=True)
    rows = {
        "bare: ready line on the console": ready,
        "bare: Python answers over ssh": python,
        "the same, kernel compressed": [answer for _, answer in told],
        "lab run: agent answers": agent,
        "lab run: mode verified": verified,
    }
    print(f"{'boot, seconds':34}{'median':>8}{'min':>8}{'max':>8}   agent answers / this")
    for name, times in rows.items():
        ratio = statistics.median(b / a for a, b in zip(times, agent, strict=True))
        print(f"{name:34}{statistics.median(times):8.2f}{min(times):8.2f}{max(times):8.2f}{ratio:12.2f}")
    print(f"\n{'round trip, milliseconds':34}{'median':>8}   this / one byte")
    for name, seconds in trips.items():
        print(f"{name:34}{seconds * 1000:8.2f}{seconds / trips['one byte by ssh cat']:12.1f}")


if __name__ == "__main__":
    main()
