"""How CI systems start a job's script and cancel it: each as its own documentation or source says."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psutil
import yaml


class Job(ABC):
    """One job of a printed pipeline, in a checkout."""

    def __init__(self, pipeline: str, checkout: Path, environment: Mapping[str, str], soc: str) -> None:
        self.pipeline = pipeline
        self.checkout = checkout
        self.environment = {**environment, "SOC": soc, "CI": "true"}
        self.log = checkout / "job.log"
        self.process = self._start()

    @abstractmethod
    def _start(self) -> subprocess.Popen[bytes]:
        """Start the script."""

    @abstractmethod
    def cancel(self) -> None:
        """What happens when a person clicks on it."""

    def _popen(self, command: list[str], script: bytes = b"", **more: str) -> subprocess.Popen[bytes]:
        """In a process group of its own, as all of them do; ``script`` on standard input."""
        with self.log.open("wb") as log:
            process = subprocess.Popen(
                command,
                cwd=self.checkout,
                env={**self.environment, **more},
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        assert process.stdin is not None
        process.stdin.write(script)
        process.stdin.close()
        return process

    def said(self) -> str:
        """The job's log."""
        return self.log.read_text(errors="replace")

    def end(self) -> None:
        """For the end of a test: nothing of it is left."""
        for one in psutil.process_iter():
            try:
                if os.getsid(one.pid) == self.process.pid:
                    one.kill()
            except (psutil.Error, OSError):
                continue
        self.process.wait(10)


class GitLab(Job):
    """gitlab-runner's shell executor: bash reads the script, in the runner's words (shells/bash.go).

    Without FF_USE_NEW_BASH_EVAL_STRATEGY there is no subshell, and every failure's exit code is 1.
    A cancelled job's process group gets SIGTERM (gitlab-runner!1770).
    """

    def _start(self) -> subprocess.Popen[bytes]:
        job = yaml.safe_load(self.pipeline)["boards"]
        lines = [*(f"export {key}={value!r}" for key, value in job["variables"].items()), *job["script"]]
        text = "\n".join(lines).replace("\\", "\\\\").replace("'", "\\'").replace("\n", "\\n")
        subshell = job["variables"].get("FF_USE_NEW_BASH_EVAL_STRATEGY") == "true"
        evaluated = f"(eval $'{text}')" if subshell else f"eval $'{text}'"
        script = f"set -eo pipefail\nset +o noclobber\n: | {evaluated}\nexit 0\n"
        return self._popen(["bash"], script.encode(), CI_JOB_ID="4711")

    def cancel(self) -> None:
        os.killpg(self.process.pid, signal.SIGTERM)


class GitHub(Job):
    """The runner's ``shell: bash``: ``bash --noprofile --norc -eo pipefail {0}`` (docs, workflow syntax).

    A cancelled step's first process gets SIGINT, 7.5 s later SIGTERM (docs, workflow cancellation).
    """

    def _start(self) -> subprocess.Popen[bytes]:
        job = yaml.safe_load(self.pipeline)["jobs"]["boards"]
        [step] = [one for one in job["steps"] if one.get("name") == "Run on a board"]
        context = {"matrix.soc": self.environment["SOC"], "github.run_id": "4711", "github.run_attempt": "1"}
        variables = {
            key: self._expanded(value, context)
            for key, value in {**job["env"], **step.get("env", {})}.items()
        }
        script = self.checkout / "step.sh"
        script.write_text(self._expanded(step["run"], context))
        return self._popen(["bash", "--noprofile", "--norc", "-eo", "pipefail", str(script)], **variables)

    @staticmethod
    def _expanded(text: Any, context: Mapping[str, str]) -> str:
        return re.sub(r"\$\{\{ *(\S+) *\}\}", lambda found: context[found[1]], str(text))

    def cancel(self) -> None:
        self.process.send_signal(signal.SIGINT)


class Jenkins(Job):
    """The ``sh`` steps: ``sh -xe`` on a file (durable-task, BourneShellScript), one after the other.

    An aborted build's processes are found by a variable in their environment; each gets SIGTERM
    (hudson.util.ProcessTree).
    """

    COOKIE = "JENKINS_SERVER_COOKIE"

    def _start(self) -> subprocess.Popen[bytes]:
        build = {**self.environment, "BUILD_TAG": "jenkins-boards-4711"}
        variables = dict(re.findall(r"^ +(LG_\w+) = ['\"]([^'\"]*)['\"]", self.pipeline, re.MULTILINE))
        expanded = {
            key: re.sub(r"\$\{(\w+)\}", lambda found: build[found[1]], value)
            for key, value in variables.items()
        }
        steps = re.findall(r"^ +sh '(.*?)'(?: //.*)?$", self.pipeline, re.MULTILINE)
        paths = []
        for number, step in enumerate(steps):
            paths.append(self.checkout / f"script{number}.sh")
            paths[-1].write_text(f"#!/bin/sh -xe\n{step}\n")
        script = "\n".join(f"sh -xe {path} </dev/null" for path in paths)
        self.cookie = f"durable-{os.getpid()}-{self.checkout}"
        return self._popen(["sh", "-e"], f"{script}\n".encode(), **expanded, **{self.COOKIE: self.cookie})

    def cancel(self) -> None:
        for one in psutil.process_iter():
            try:
                if one.environ().get(self.COOKIE) == self.cookie:
                    one.send_signal(signal.SIGTERM)
            except (psutil.Error, OSError):
                continue
