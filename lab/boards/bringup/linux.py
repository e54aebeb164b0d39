"""The steps from the kernel on: Linux, agent, decoders, KVM, GPU, IOMMU modes."""

from __future__ import annotations

from functools import partial
from typing import Any

from lab.base.words import IommuMode
from lab.boards.bringup.bench import Bench
from lab.boards.bringup.step import RedError, Step
from lab.boards.formats import sizes
from lab.boards.modes import verify
from lab.boards.target import Target

LOOK = """
for node in /sys/class/drm/*; do
    driver=$(readlink "$node/device/driver") || continue
    case ${node##*/} in *-*) ;; *) echo "${node##*/} ${driver##*/}" ;; esac
done
"""
"""DRM nodes of the board with their drivers, for its shell."""


def kernel(bench: Bench) -> str:
    """The boot loader loads and starts Linux, which finds its root file system."""
    bench.boot(bench.target.default_modes[0])
    times = bench.strategy.times
    bench.facts["times"] = dict(times)
    return f"starts after {times['kernel']:.1f} s, ready after {times['linux']:.1f} s"


def agent(bench: Bench) -> str:
    """ssh lets us in, and the agent answers."""
    bench.start_agent()
    found = bench.facts["hello"]
    bench.facts["board"] = bench.asked().call("facts")
    compatible = _shell(bench, "tr '\\0' ' ' </proc/device-tree/compatible 2>/dev/null")
    bench.facts["compatible"] = compatible.split()
    return f"Linux {found['kernel']}, Python {found['python']}"


def decoders(bench: Bench) -> str:
    """The decoders of the target are there, with formats; others are told."""
    bench.load_modules()
    found: list[dict[str, Any]] = bench.asked().call("decoders")
    bench.facts["decoders"] = found
    if bench.target.no_decoder:
        return f"none expected: {bench.target.no_decoder}"
    there = {decoder["device"]: decoder for decoder in found}
    release = bench.facts["hello"]["kernel"]
    expected = bench.target.at(release).decoders
    missing = [
        f"{one.name} ({one.device}, module {one.module})" for one in expected if one.device not in there
    ]
    if missing:
        seen = ", ".join(f"{one['driver']} at {one['device']}" for one in found) or "none"
        raise RedError(f"not there: {', '.join(missing)}; found: {seen}")
    for one in expected:
        node = there[one.device]["node"]
        there[one.device]["formats"] = bench.asked().call("decoder_formats", node=node)
    return "; ".join(_described(there[one.device], one.name) for one in expected)


def kvm(bench: Bench) -> str:
    """/dev/kvm is there where the target says so, or wants a VMM."""
    there = _shell(bench, "test -c /dev/kvm && echo yes") == "yes"
    bench.facts["kvm"] = there
    wanted = bench.target.kvm.usable if bench.target.kvm else bench.target.vmm is not None
    if wanted and not there:
        raise RedError("there is no /dev/kvm")
    return "/dev/kvm is there" if there else "no /dev/kvm, as the target says"


def gpu(bench: Bench) -> str:
    """The GPU's driver has a DRM node, where the target names one."""
    wanted = bench.target.gpu
    if wanted is not None and wanted.in_debian:
        bench.asked().run(["modprobe", wanted.module])
    nodes = dict(line.split() for line in _shell(bench, LOOK).splitlines())
    bench.facts["drm"] = nodes
    seen = ", ".join(f"{node} {driver}" for node, driver in sorted(nodes.items())) or "there is no DRM node"
    release = bench.facts["hello"]["kernel"]
    if wanted is not None and wanted.in_debian and wanted.there(release):
        names = {driver.replace("-", "_") for driver in nodes.values()}
        if not {wanted.driver.replace("-", "_"), wanted.module.replace("-", "_")} & names:
            raise RedError(f"{wanted.driver} has no DRM node: {seen}")
    return seen if wanted is not None else f"the target names none; {seen}"


def mode(wanted: IommuMode, bench: Bench) -> str:
    """Linux comes up in the mode, and the decoders say so."""
    booted = bench.strategy.booted is wanted and bench.agent is not None
    if not booted:
        bench.boot(wanted)
        bench.start_agent()
        bench.load_modules()
    said = verify(bench.asked(), bench.target.at(bench.facts["hello"]["kernel"]), wanted)
    bench.facts.setdefault("modes", {})[str(wanted)] = said
    return f"verified: {said}"


def mode_steps(target: Target) -> list[Step]:
    """A step for each mode; the one that is booted already comes first."""
    modes = sorted(target.modes, key=lambda one: one is not target.default_modes[0])
    return [
        Step(
            f"mode {one}",
            ("decoders",),
            partial(mode, one),
            (
                f"iommu.modes.{one} of the target: kernel words, and what its tree edit removes",
                "lab targets check NAME holds the nodes against the kernel's device tree",
            ),
        )
        for one in modes
    ]


def _described(found: dict[str, Any], name: str) -> str:
    planes = "multi-planar" if found["mplane"] else "single-planar"
    coded = ", ".join(f"{one} {sizes(about)}" for one, about in found["formats"]["coded"].items())
    api = f"{found['formats']['api']}, {planes}"
    return f"{name} {found['node']} ({api}): {coded} to {' '.join(found['captures'])}"


def _shell(bench: Bench, command: str) -> str:
    done: dict[str, Any] = bench.asked().run(["sh", "-c", command])
    text: bytes = done["stdout"]
    return text.decode(errors="replace").strip()


STEPS = (
    Step(
        "kernel",
        ("network",),
        kernel,
        (
            "no word of Linux after 'Starting kernel': boot.console is another UART, or boot.dtb another's",
            "LAB-ROOT-FAILED: Linux's driver for the network card, DHCP, or the HTTP server (HTTPProvider)",
            "kernel_addr_r and ramdisk_addr_r must leave room for both files (boot.kernel, boot.initrd)",
        ),
    ),
    Step(
        "agent",
        ("kernel",),
        agent,
        (
            "NetworkService in lab.yaml has the address that DHCP gives this board: give it a fixed lease",
            "boot.python of the target is where the board's Python is",
            "lab console, then at lab#: ip addr, ps",
        ),
    ),
    Step(
        "decoders",
        ("agent",),
        decoders,
        (
            "lab shell, dmesg: did the driver probe? is firmware missing, or a clock's or domain's driver?",
            "decoders.NAME.device is the device's name below /sys/bus/*/devices",
        ),
    ),
    Step(
        "kvm",
        ("agent",),
        kvm,
        (
            "Linux must start in EL2, which is up to the firmware (TF-A)",
            "a board that cannot: leave out vmm: and say kvm.usable: false",
        ),
    ),
    Step(
        "gpu",
        ("agent",),
        gpu,
        ("lab shell, dmesg: did the driver probe? are gpu.module and gpu.node those of this SoC?",),
    ),
)
