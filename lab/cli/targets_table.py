"""All targets as a table in Markdown, made of the target files alone (docs/target-table.md)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from lab.boards.checks import unseen
from lab.boards.target import Target

HEAD = """# Targets

Made by `lab targets table` from the files in `targets/`; a test holds it against them.

No board was at hand. Facts are

- **verified** where `lab targets check` holds them against Debian's arm64 kernels, that of trixie and the
  newest in trixie-backports (device tree, modules, configuration, words of drivers), against Debian's U-Boot
  where it has one for the board, and against labgrid's classes: whatever the last two columns leave;
- **read from source** where a driver's source, which the file names, states them, and a board has yet to
  confirm them;
- **unverified** where no source states them; the file says what they rest on.

"""
PLACE = Path("docs/target-table.md")
COLUMNS = ("target", "SoC, board", "decoders", "IOMMU", "off by", "facts read from source", "unverified")


def markdown(targets: Sequence[Target]) -> str:
    """The whole page. ``targets`` in the order of the rows; virtual ones are left out."""
    rows = [COLUMNS, tuple("---" for _ in COLUMNS)]
    rows += [_row(target) for target in targets if target.virtual is None]
    return HEAD + "".join(f"| {' | '.join(row)} |\n" for row in rows)


def _row(target: Target) -> tuple[str, ...]:
    decoders = [
        f"{decoder.name}: {', '.join(decoder.coded)}"
        + (f" (Linux {decoder.since})" if decoder.since else "")
        + ("" if decoder.in_debian else f" ({decoder.kconfig} is not set in Debian)")
        for decoder in target.decoders
    ]
    read = {one.fact for one in unseen.findings(target)} - set(target.unverified)
    return (
        f"[{target.name}](../targets/{target.name}.yaml)",
        f"{target.soc}, {target.board}",
        "<br>".join(decoders) or f"none: {target.no_decoder}",
        target.iommu.driver or "none",
        _off(target),
        str(len(read)),
        "<br>".join(f"{fact}: {basis}" for fact, basis in target.unverified.items()) or "-",
    )


def _off(target: Target) -> str:
    """How decoders lose their IOMMU, in a word or two."""
    edits = [setup.tree for setup in target.iommu.modes.values() if setup.tree is not None]
    if not edits:
        return "always"
    done = [f"{edit.remove} removed" for edit in edits if edit.remove]
    done += [f"{node} disabled" for edit in edits for node in edit.disable]
    return ", ".join(done)
