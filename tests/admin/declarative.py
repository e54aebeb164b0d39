"""What a declarative Jenkins pipeline may consist of, as far as ours uses it.

Jenkins publishes no schema of the Jenkinsfile's text. Its plugin pipeline-model-definition has one of the
pipeline's parsed form (pipeline-model-api, ast-schema.json); these tables say the same of the text, and
name the parameters of the steps and options by their plugins' documentation.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

COMMON = {"agent", "environment", "options", "post", "tools", "when", "input"}
SECTIONS: Mapping[str, tuple[set[str], set[str]]] = {  # block -> what it must have, what it may have
    "pipeline": ({"agent", "stages"}, {"environment", "options", "post", "tools", "triggers", "parameters"}),
    "matrix": ({"axes", "stages"}, COMMON | {"excludes"}),
    "axis": ({"name", "values"}, set()),
    "agent": (set(), {"label", "node", "docker", "dockerfile"}),
    "options": (set(), {"disableConcurrentBuilds", "timeout", "buildDiscarder"}),
    "post": (
        set(),
        {"always", "changed", "fixed", "regression", "aborted", "failure", "success", "unstable", "cleanup"},
    ),
    "steps": (set(), {"sh", "junit", "archiveArtifacts"}),
    "always": (set(), {"sh", "junit", "archiveArtifacts"}),
}
LISTS = {"stages": "stage", "axes": "axis"}
PARAMETERS = {
    "sh": {"script", "encoding", "label", "returnStatus", "returnStdout"},
    "junit": {"testResults", "allowEmptyResults", "keepLongStdio", "skipPublishingChecks"},
    "archiveArtifacts": {"artifacts", "allowEmptyArchive", "excludes", "fingerprint", "onlyIfSuccessful"},
    "timeout": {"time", "unit", "activity"},
    "disableConcurrentBuilds": {"abortPrevious"},
    "logRotator": {"daysToKeepStr", "numToKeepStr", "artifactDaysToKeepStr", "artifactNumToKeepStr"},
}
STAGE = {"steps", "stages", "parallel", "matrix"}  # exactly one of them
FREE = {"environment"}  # its names are the user's


def faults(calls: list[dict[str, Any]], path: str = "") -> Iterator[str]:
    """What Jenkins would refuse, each with the way to it."""
    for one in calls:
        name, block = one["name"], one.get("block")
        here = f"{path}/{name}"
        for argument in one["arguments"]:
            if isinstance(argument, dict) and "name" in argument:
                yield from faults([argument], here)
            elif isinstance(argument, dict):
                yield from (
                    f"{here}: parameter {key}" for key in argument.keys() - PARAMETERS.get(name, set())
                )
        if block is not None:
            yield from _block_faults(name, [each["name"] for each in block], here)
            yield from faults(block, here)


def _block_faults(name: str, names: list[str], here: str) -> Iterator[str]:
    if name in LISTS:
        yield from (f"{here}: {each}" for each in names if each != LISTS[name])
        if not names:
            yield f"{here}: empty"
    elif name == "stage":
        yield from (f"{here}: {each}" for each in names if each not in STAGE | COMMON)
        if sum(each in STAGE for each in names) != 1:
            yield f"{here}: not one of {sorted(STAGE)}"
    elif name in SECTIONS:
        must, may = SECTIONS[name]
        yield from (f"{here}: {each}" for each in names if each not in must | may)
        yield from (f"{here}: no {each}" for each in must - set(names))
    elif name not in FREE:
        yield f"{here}: no section"
