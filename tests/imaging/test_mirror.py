import shutil
import tempfile

import pytest

from lab.base.errors import ConfigError
from lab.imaging import mirror

DEBIAN = {"ID": "debian", "VERSION_CODENAME": "bookworm"}
UBUNTU = {"ID": "ubuntu", "VERSION_CODENAME": "noble"}


def test_the_setting_comes_first(monkeypatch):
    monkeypatch.setenv(mirror.SETTING, "http://env.example/debian")
    assert mirror.choose() == "http://env.example/debian/"
    assert mirror.choose("https://asked.example/debian/") == "https://asked.example/debian/"


@pytest.mark.parametrize("address", ["mirror.example", "http://", "ssh://host/debian", "http://a b/"])
def test_a_setting_that_is_no_address(address):
    with pytest.raises(ConfigError, match="not a mirror address"):
        mirror.choose(address)


@pytest.mark.parametrize("address", ["file:/srv/debian", "mirror+file:/etc/mirrors", "ftp://host/debian"])
def test_other_kinds_of_addresses(address):
    assert mirror.choose(address) == address + "/"


@pytest.mark.parametrize(
    ("targets", "system", "found"),
    [
        ("Debian|Debian|bookworm|bookworm|http://a.example/debian/", DEBIAN, "http://a.example/debian/"),
        ("Debian|Debian|trixie|trixie|http://a.example/debian", UBUNTU, "http://a.example/debian/"),
        ("Debian|Debian-Security|stable|bookworm-security|http://s.example/", DEBIAN, None),
        ("Debian Backports|x|bookworm-backports|b|http://b.example/", DEBIAN, None),
        ("Ubuntu|Ubuntu|noble|noble|http://u.example/ubuntu/", UBUNTU, None),
        ("|||bookworm|http://a.example/debian/", DEBIAN, "http://a.example/debian/"),
        ("||bookworm||http://a.example/debian/", DEBIAN, "http://a.example/debian/"),
        ("||nodistro||http://other.example/", DEBIAN, None),
        ("||noble||http://u.example/ubuntu/", UBUNTU, None),
        ("Debian|Debian|bookworm|bookworm|cdrom:[Debian]/", DEBIAN, None),
        ("", DEBIAN, None),
    ],
)
def test_the_machines_own_mirror(targets, system, found):
    assert mirror.from_targets(targets, system) == found


def test_a_known_debian_archive_wins_over_a_guess():
    targets = "||bookworm||http://guess.example/\nDebian|Debian|trixie|trixie|http://known.example/"
    assert mirror.from_targets(targets, DEBIAN) == "http://known.example/"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("deb http://d.example/debian stable main\n", "http://d.example/debian/"),
        (
            "# x\ndeb [arch=arm64 signed-by=/k] http://d.example/debian stable main",
            "http://d.example/debian/",
        ),
        ("deb-src http://d.example/debian stable main", None),
        ("", None),
    ],
)
def test_the_first_line_of_sources(text, found):
    assert mirror.from_sources(text) == found


def test_this_machine_gives_an_address_that_apt_takes():
    assert mirror.SCHEMES.match(mirror.choose())


@pytest.mark.skipif(shutil.which("mmdebstrap") is None, reason="it has the default")
def test_the_default_is_found_where_temporary_folders_have_blanks(tmp_path, monkeypatch):
    folder = tmp_path / "a folder; touch $HOME"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    assert mirror._mmdebstrap_default()
