"""All findings about one target."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from lab.base.errors import ConfigError
from lab.boards.checks import drivers, gear, loader, tree, unseen
from lab.boards.checks.finding import Finding, State, ok, wrong
from lab.boards.devicetree import DeviceTree
from lab.boards.facts import Uboot
from lab.boards.target import Target
from lab.imaging.firmware import uboot
from lab.imaging.kernels import KernelFiles

LABGRID = "labgrid"
LOADER = "u-boot"
NOBODY = "nothing here"


@dataclass(frozen=True)
class Report:
    """What was found. ``by_witness``: a kernel's release, "u-boot", "labgrid", "nothing here" -> findings."""

    target: Target
    by_witness: dict[str, list[Finding]] = field(default_factory=dict)

    def count(self, state: State) -> int:
        """How many facts are in this state."""
        return sum(one.state is state for found in self.by_witness.values() for one in found)

    def line(self, finding: Finding) -> int | None:
        """The line of the target's file that a finding is about."""
        return finding.line or self.target.line(finding.fact)

    @property
    def wrong(self) -> list[tuple[str, Finding]]:
        """Witness and finding of each wrong fact."""
        return [
            (witness, one)
            for witness, found in self.by_witness.items()
            for one in found
            if one.state is State.WRONG
        ]


def check(target: Target, kernels: Sequence[KernelFiles], *, use_mirror: str | None = None) -> Report:
    """Hold all of the target's facts against the kernels, U-Boot and labgrid. Imports labgrid (0.6 s).

    U-Boot comes from the cache or the mirror; raises LabError where that does not answer.
    """
    report = Report(target)
    for kernel in kernels:
        report.by_witness[kernel.release] = list(_kernel(target, kernel))
    if target.boot.uboot is not None:
        report.by_witness[LOADER] = list(_loader(target, target.boot.uboot, kernels, use_mirror))
    report.by_witness[LABGRID] = list(gear.findings(target))
    report.by_witness[NOBODY] = list(unseen.findings(target))
    return report


def _loader(
    target: Target, named: Uboot, kernels: Sequence[KernelFiles], use_mirror: str | None
) -> Iterator[Finding]:
    try:
        firmware = uboot(named.package, named.board, use_mirror=use_mirror)
    except ConfigError as error:
        yield wrong("boot.uboot", str(error))
    else:
        yield ok("boot.uboot", "is there")
        yield from loader.findings(target, firmware, list(kernels))


def _kernel(target: Target, kernel: KernelFiles) -> Iterator[Finding]:
    if target.boot.dtb is not None:
        yield from _tree(target, target.boot.dtb, kernel)
    yield from drivers.findings(target, kernel)


def _tree(target: Target, dtb: str, kernel: KernelFiles) -> Iterator[Finding]:
    try:
        found = DeviceTree.read(kernel.dtb(dtb))
    except ConfigError as error:
        close = difflib.get_close_matches(dtb, kernel.dtbs(), n=2)
        yield wrong("boot.dtb", error.message + (f"; it has {', '.join(close)}" if close else ""))
    else:
        yield ok("boot.dtb", "is there")
        yield from tree.findings(target, found, kernel.release)
