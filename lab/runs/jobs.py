"""What a run on a lab's places consists of: which targets, and what their boards must be."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from lab.base.errors import ConfigError
from lab.boards.target import load_target
from lab.places import Place
from lab.runs.request import Request


@dataclass(frozen=True, slots=True)
class Job:
    """The suites on one target. ``filters``: the tags that a place must have; None: a rack of our own."""

    target: str
    filters: dict[str, str] | None = field(default=None)

    @property
    def leased(self) -> bool:
        """Whether it runs on a place of a lab."""
        return self.filters is not None


def own_jobs(request: Request) -> list[Job]:
    """Jobs on virtual boards that the run makes itself, or on the place that LG_PLACE names."""
    return [Job(target) for target in request.targets]


def lab_jobs(request: Request, places: Sequence[Place]) -> list[Job]:
    """Jobs on ``places``, those first that take longest as far as their modes and decoders tell.

    A SoC stands for every kind of board with it in the lab. Raises ConfigError: no place is what was
    asked for, or two of them are boards of one kind, which a run measures once.
    """
    found = [*_named(request, places), *_by_soc(request, places), *_by_target(request, places)]
    jobs: dict[str, Job] = {}
    for job in found:
        other = jobs.setdefault(job.target, job)
        if other != job and "name" in (job.filters or {}):
            raise ConfigError(
                f"{_words(other)} and {_words(job)} are boards of one kind, {job.target}",
                hint="a run measures a kind of board once; start another run for the other",
            )
    return sorted(jobs.values(), key=_weight, reverse=True)


def _named(request: Request, places: Sequence[Place]) -> Iterator[Job]:
    known = {place.name: place for place in places}
    for name in request.places:
        if name not in known:
            hint = f"it has {', '.join(known)}" if known else "it has none yet: lab sync LAB.yaml"
            raise ConfigError(f"the lab has no place '{name}'", hint=hint)
        yield Job(_target(known[name]), {"name": name})


def _by_soc(request: Request, places: Sequence[Place]) -> Iterator[Job]:
    for soc in request.socs:
        boards = [place for place in places if place.soc == soc]
        if not boards:
            socs = sorted({place.soc for place in places if place.soc})
            hint = f"it has {', '.join(socs)}" if socs else "no place has a tag soc: lab sync LAB.yaml"
            raise ConfigError(f"the lab has no board with SoC '{soc}'", hint=hint)
        for target in dict.fromkeys(_target(place) for place in boards):
            yield Job(target, {"soc": soc, "target": target})


def _by_target(request: Request, places: Sequence[Place]) -> Iterator[Job]:
    known = sorted({place.target for place in places if place.target})
    for target in request.targets:
        if target not in known:
            hint = f"it has {', '.join(known)}" if known else "no place has a tag target: lab sync LAB.yaml"
            raise ConfigError(f"the lab has no board of target '{target}'", hint=hint)
        yield Job(target, {"target": target})


def _target(place: Place) -> str:
    if not place.target:
        raise ConfigError(
            f"place {place.name} does not say which kind of board it is",
            hint=f"labgrid-client -p {place.name} set-tags target=NAME, a file of targets/",
        )
    return place.target


def _weight(job: Job) -> int:
    target = load_target(job.target)
    return len(target.default_modes) * len(target.decoders)


def _words(job: Job) -> str:
    return " ".join(f"{key}={value}" for key, value in (job.filters or {}).items()) or job.target
