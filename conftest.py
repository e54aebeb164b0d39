"""Registers sharelab's pytest plugin: the suites need nothing else."""

pytest_plugins = ["lab.runs.plugin"]
