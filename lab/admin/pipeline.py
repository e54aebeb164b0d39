"""Pipelines for CI systems that run on the boards of a lab: one text each, around the same command."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from lab.base.duration import written


class System(StrEnum):
    """The CI systems that there is a pipeline for."""

    GITLAB = "gitlab"
    GITHUB = "github"
    JENKINS = "jenkins"


TEMPLATES = {
    System.GITLAB: "ci/gitlab.yml",
    System.GITHUB: "ci/github.yml",
    System.JENKINS: "ci/Jenkinsfile",
}


@dataclass(frozen=True)
class Pipeline:
    """What a pipeline is to run. ``wait``, ``limit``: seconds to wait for a board, and for the whole job.

    ``path`` is sharelab's folder in the repository, ``command`` what printed the pipeline.
    """

    socs: Sequence[str]
    suites: Sequence[str]
    wait: float
    limit: float
    priority: int
    coordinator: str
    path: str
    command: str

    def run(self, soc: str) -> str:
        """The job's command; ``soc`` is the variable that the CI system's matrix sets."""
        suites = "".join(f" {shlex.quote(suite)}" for suite in self.suites)
        priority = f" --priority {self.priority}" if self.priority else ""
        options = f'--soc "{soc}" --wait {written(self.wait)}{priority} --junit results/junit.xml'
        return f"{self.path}/bootstrap.sh run{suites} {options}"

    def text(self, system: System) -> str:
        """The file for ``system``."""
        from lab.admin.templates import render  # Jinja: not for every start of `lab`

        return render(
            TEMPLATES[system],
            command=self.command,
            socs=list(self.socs),
            wait=written(self.wait),
            minutes=round(self.limit / 60),
            coordinator=self.coordinator,
            path=self.path,
            run=self.run,
        )
