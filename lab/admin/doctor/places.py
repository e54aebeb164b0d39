"""The lab behind the coordinator: its exporters and places, and whether they are what the lab's file says."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from lab.admin.doctor.finding import Finding, bad, info, ok, warn
from lab.admin.labfile import LabFile, Match
from lab.admin.sync import differences, present
from lab.base.errors import SharelabError
from lab.boards.environment import class_names
from lab.places import Health

if TYPE_CHECKING:
    from lab.boards.target import Target
    from lab.places import Place, Session

OVERDUE = timedelta(seconds=60)  # a janitor looks far more often

TargetLoader = Callable[[str], "Target"]


def checks(session: Session, load_target: TargetLoader, lab: LabFile | None = None) -> Iterator[Finding]:
    """All checks of the lab; against its file where that is given."""
    connected = sorted({exporter for exporter, _, _ in session.resources()})
    yield from _exporters(connected, lab)
    yield _janitor(session)
    if lab is not None:
        yield _in_sync(session, lab)
    places = session.places()
    if not places:
        yield bad("places", "none", "lab sync LAB.yaml makes those of a lab's file")
    for place in places:
        yield from _place(place, session, load_target)


def _exporters(connected: list[str], lab: LabFile | None) -> Iterator[Finding]:
    wanted = lab.exporters if lab is not None else {}
    for name, exporter in wanted.items():
        if name not in connected and exporter.resources:
            unit = f"sharelab-exporter-{name}"
            yield bad(
                "exporter",
                f"{name} is not connected; it runs on {exporter.machine}",
                f"there: systemctl --user status {unit}; journalctl --user -u {unit}",
                f"not installed yet: lab units {lab.path if lab else ''}",
            )
    if connected:
        yield ok("exporters", ", ".join(connected))
    elif not wanted:
        yield warn("exporters", "none is connected, so no place has anything to it")


def _janitor(session: Session) -> Finding:
    holder = session.janitor()
    if holder is None:
        text = "none runs: a job that dies keeps its board"
        return warn("janitor", text, "lab janitor  # by hand; lab up and lab units keep one running")
    return ok("janitor", f"runs on {holder.partition('/')[0]}")


def _in_sync(session: Session, lab: LabFile) -> Finding:
    found = differences(lab, present(session))
    if not found:
        return ok("file", f"{lab.path} and the coordinator agree")
    names = ", ".join(change.place for change in found)
    return warn("file", f"{lab.path} and the coordinator differ: {names}", f"lab sync {lab.path} --dry-run")


def _place(place: Place, session: Session, load_target: TargetLoader) -> Iterator[Finding]:
    name = place.name
    found: list[Finding] = []
    if place.lacking:
        found.append(
            bad(name, f"no live resources for {', '.join(place.lacking)}", *_lacking(place, session))
        )
    if place.health is Health.UNKNOWN:
        found.append(
            warn(name, "nobody gets it: it has no health yet", f"lab health {name}", f"lab heal {name}")
        )
    elif place.health is Health.QUARANTINED:
        why = place.health_reason or "no reason given"
        found.append(warn(name, f"quarantined: {why}", f"lab health {name} tries it again; lab heal {name}"))
    if place.acquired and place.lease is None:
        todo = f"labgrid-client -p {name} release --kick  # ask them first"
        found.append(info(name, f"held by {place.acquired} without a lease: it never ends by itself", todo))
    elif place.lease is not None and place.lease.until + OVERDUE < session.now():
        text = f"the lease of {place.acquired} ended at {place.lease.until:%H:%M} UTC and still holds it"
        found.append(bad(name, text, "lab janitor --once"))
    found.extend(_target(place, session, load_target))
    if not found:
        words = [place.soc or "", f"held by {place.acquired}" if place.acquired else "free"]
        found.append(ok(name, ", ".join(word for word in words if word)))
    yield from found


def _lacking(place: Place, session: Session) -> Iterator[str]:
    """Whether the exporter is gone, or only what it should have found on its machine."""
    there = session.resources()
    for pattern in place.lacking:
        match = Match(pattern)
        known = [key for key, one in there.items() if match.fits(key[0], key[1], one["cls"], key[2])]
        if known:
            what = ", ".join("/".join(key) for key in known)
            yield f"{what}: its exporter does not find it (unplugged?)"
        elif any(key[0] == pattern.split("/")[0] for key in there):
            yield f"exporter {pattern.split('/')[0]} is there and has no {pattern.partition('/')[2]}"
        else:
            yield f"exporter {pattern.split('/')[0]} is not connected"


def _target(place: Place, session: Session, load_target: TargetLoader) -> Iterator[Finding]:
    """Whether the drivers of the place's target find what they bind to."""
    if place.target is None:
        if place.soc is None:
            yield warn(
                place.name,
                "neither a target nor a SoC: lab run --soc never finds it",
                "set target: in the file",
            )
        return
    try:
        target = load_target(place.target)
    except SharelabError as error:
        yield bad(place.name, f"its target cannot be used here: {error.message}", error.hint)
        return
    if place.lacking:
        return
    matches = [Match(pattern) for pattern in place.matches]
    offered = [
        one["cls"]
        for key, one in session.resources().items()
        if any(match.fits(key[0], key[1], one["cls"], key[2]) for match in matches)
    ]
    lacks = [f"{' or '.join(needs)} ({driver})" for driver, needs in unbound(target.targets["main"], offered)]
    if lacks:
        text = f"target {target.name} needs what the place has not: {', '.join(lacks)}"
        yield bad(place.name, text, f"it has {', '.join(sorted(offered)) or 'nothing'}")


def unbound(config: dict[str, Any], offered: list[str]) -> Iterator[tuple[str, list[str]]]:
    """Drivers of a labgrid target that would find nothing to bind to, and what each would take.

    As labgrid's Target.bind_driver looks for it. ``offered``: classes of the place's resources.
    """
    from labgrid import target_factory
    from labgrid.driver import Driver

    drivers = class_names(config.get("drivers"))
    candidates = [*offered, *drivers, *class_names(config.get("resources"))]
    known = [target_factory.all_classes[name] for name in candidates if name in target_factory.all_classes]
    for driver in drivers:
        for needs in target_factory.drivers[driver].bindings.values():
            plain = needs.value if isinstance(needs, Driver.NamedBinding) else needs
            wanted = plain if isinstance(plain, set) else {plain}
            classes = [
                target_factory.class_from_string(one) if isinstance(one, str) else one
                for one in wanted - {None}
            ]
            if None not in wanted and not any(issubclass(one, tuple(classes)) for one in known):
                yield driver, sorted(one.__name__ for one in classes)
