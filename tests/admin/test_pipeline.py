"""Printed pipelines: by the CI systems' own schemas, or as near as one gets to that for Jenkins."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from lab.admin.pipeline import Pipeline, System
from tests.admin.conftest import lab
from tests.admin.declarative import faults

GROOVY = Path(
    "/usr/share/java/groovy-all.jar"
)  # Debian's is 2.4.21, the one that Jenkins runs pipelines with
SCHEMAS = {System.GITLAB: "vendor.gitlab-ci", System.GITHUB: "vendor.github-workflows"}
needs_groovy = pytest.mark.skipif(
    not (GROOVY.exists() and shutil.which("java")), reason="no Groovy on this machine: apt-get install groovy"
)


def text(system: System, *, path: str = ".") -> str:
    pipeline = Pipeline(
        socs=["rk3399", "rk3588"],
        suites=["board"],
        wait=5400,
        limit=9000,
        priority=5,
        coordinator="127.0.0.1:20408",
        path=path,
        command="lab ci",
    )
    return pipeline.text(system)


def schema_says(system: System, file: Path) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, "-m", "check_jsonschema", "--builtin-schema", SCHEMAS[system], file],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize("system", SCHEMAS)
@pytest.mark.parametrize("path", [".", "./sharelab"])
def test_the_published_schema_takes_it(tmp_path: Path, system: System, path: str):
    file = tmp_path / "pipeline.yml"
    file.write_text(text(system, path=path))
    assert schema_says(system, file) == (0, "ok -- validation done\n")


@pytest.mark.parametrize(
    ("system", "old", "new"),
    [(System.GITLAB, "when: always", "when: allways"), (System.GITHUB, "runs-on:", "run-on:")],
)
def test_the_schema_refuses_a_mistake(tmp_path: Path, system: System, old: str, new: str):
    """Or the test above could not fail."""
    file = tmp_path / "pipeline.yml"
    assert old in text(system)
    file.write_text(text(system).replace(old, new))
    assert schema_says(system, file)[0] == 1


def parsed(jenkinsfile: str) -> tuple[list[dict[str, Any]], str]:
    """Its calls as Groovy parses them, and what Groovy says against it."""
    done = subprocess.run(
        ["java", "-cp", GROOVY, "groovy.ui.GroovyMain", Path(__file__).with_name("jenkinsfile.groovy")],
        input=jenkinsfile,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return (json.loads(done.stdout)["calls"] if done.returncode == 0 else []), done.stderr


@needs_groovy
def test_groovy_parses_the_jenkinsfile_and_its_sections_are_jenkins_s():
    calls, said = parsed(text(System.JENKINS))
    assert said == ""
    assert [one["name"] for one in calls] == ["pipeline"]
    assert list(faults(calls)) == []


@needs_groovy
def test_mistakes_in_a_jenkinsfile_are_found():
    good = text(System.JENKINS)
    assert "expecting '}'" in parsed(good[:-3])[1]
    wrong = (
        good.replace("axes {", "axis {", 1)
        .replace("testResults:", "testResult:")
        .replace("steps {", "step {")
    )
    found = list(faults(parsed(wrong)[0]))
    where = "/pipeline/stages/stage/matrix"
    assert f"{where}: no axes" in found
    assert f"{where}/stages/stage/post/always/junit: parameter testResult" in found
    assert f"{where}/stages/stage: step" in found


def test_what_the_pipelines_promise():
    """Bounded waiting, results whatever happens, one job a SoC, cancelled by a newer one."""
    gitlab = yaml.safe_load(text(System.GITLAB))["boards"]
    github = yaml.safe_load(text(System.GITHUB))
    job = github["jobs"]["boards"]
    command = './bootstrap.sh run board --soc "$SOC" --wait 1h30m --priority 5 --junit results/junit.xml'
    assert gitlab["script"][-1] == command
    assert job["steps"][1]["run"] == f"exec {command}"
    assert f"sh '{command}'" in text(System.JENKINS)
    assert gitlab["parallel"]["matrix"] == [{"SOC": ["rk3399", "rk3588"]}]
    assert job["strategy"] == {"fail-fast": False, "matrix": {"soc": ["rk3399", "rk3588"]}}
    assert (gitlab["timeout"], job["timeout-minutes"]) == ("150 minutes", 150)
    assert gitlab["artifacts"]["when"] == "always"
    assert gitlab["artifacts"]["reports"] == {"junit": "results/junit.xml"}
    assert gitlab["interruptible"] is github["concurrency"]["cancel-in-progress"] is True


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["ci", "gitlab"], "no --soc given: lab ci gitlab --soc rk3588"),
        (["ci", "gitlab", "--soc", "a'b"], '"a\'b" cannot stand in a pipeline'),
        (
            ["ci", "gitlab", "--soc", "a", "--wait", "90"],
            "'90' is not a span of time: write 90s, 30m",
        ),
        (["ci", "gitlab", "--soc", "a", "bord"], "unknown suite 'bord'"),
    ],
)
def test_mistakes_cost_one_line(tmp_path: Path, words: list[str], said: str):
    done = lab(*words, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr
    assert len(done.stderr.splitlines()) == 1
