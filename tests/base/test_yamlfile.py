"""Files that are no YAML, or not the YAML that was meant, are named with the line."""

from __future__ import annotations

import pytest

from lab.base import yamlfile
from lab.base.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: 1\nb: 2024-99-99\n", ":2: '2024-99-99' cannot be read"),
        ("a: 1\nb: !!int many\n", ":2: 'many' cannot be read"),
        ("a: 1\n? [b]\n: 2\n", ":2: a list or a mapping is no key"),
        ("a: 1\n{b: c}: 2\n", ":2: a list or a mapping is no key"),
        ("a: 1\na: 2\n", ":2: key 'a' stands twice"),
        ("a: [1\n", ":2: "),
        ("{a: " * 900 + "}" * 900, "not valid YAML (nested too deep)"),
        ("a: \x00", "not valid YAML (unacceptable character"),
    ],
)
def test_what_cannot_be_read_is_one_line(tmp_path, text, said):
    path = tmp_path / "file.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError) as raised:
        yamlfile.read(path)
    assert str(raised.value).startswith(str(path))
    assert said in str(raised.value)
    assert "\n" not in str(raised.value)


def test_dates_and_numbers_are_read(tmp_path):
    path = tmp_path / "file.yaml"
    path.write_text("a: 2024-02-29\nb: 0x10\nc: 1.5\nd: .inf\n")
    data, _ = yamlfile.read(path)
    assert (str(data["a"]), data["b"], data["c"], data["d"]) == ("2024-02-29", 16, 1.5, float("inf"))
