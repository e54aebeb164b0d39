"""Texts with gaps: systemd units and CI pipelines. ``[[ value ]]``, ``[% if %]``: braces are theirs."""

from __future__ import annotations

from typing import Any


def render(template: str, **values: Any) -> str:
    """The text of ``template`` (its path in this folder) with ``values`` in it."""
    from jinja2 import (
        Environment,
        PackageLoader,
        StrictUndefined,
    )  # the command line's every start is quicker

    environment = Environment(
        loader=PackageLoader("lab.admin"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        variable_start_string="[[",
        variable_end_string="]]",
        block_start_string="[%",
        block_end_string="%]",
        comment_start_string="[#",
        comment_end_string="#]",
    )
    environment.globals["word"] = _systemd_word
    return environment.get_template(template).render(**values)


def _systemd_word(text: str) -> str:
    """``text`` as one word of a unit's command line (systemd.service(5), "Command lines")."""
    escaped = text.replace("%", "%%").replace("$", "$$")
    return '"' + escaped.replace("\\", "\\\\").replace('"', '\\"') + '"' if " " in text else escaped
