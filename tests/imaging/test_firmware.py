"""U-Boot out of Debian's packages: its environment and its words."""

from __future__ import annotations

import pytest

from lab.base.errors import ConfigError
from lab.imaging.firmware import UbootFile, uboot


@pytest.fixture(scope="module")
def rock() -> UbootFile:
    return uboot("u-boot-rockchip", "rockpro64-rk3399")


def test_the_environment_is_read(rock):
    assert rock.environment["baudrate"] == "1500000"
    assert rock.environment["kernel_addr_r"].startswith("0x")


@pytest.mark.parametrize(
    ("expression", "known"),
    [("${kernel_addr_r}", True), ("0x4f000000", True), ("4f000000", True), ("${no_such}", False)],
)
def test_addresses_are_numbers_or_names(rock, expression, known):
    found = rock.address(expression)
    assert (found is not None) == known
    if "4f" in expression:
        assert found == 0x4F000000


def test_words_are_whole_at_their_end(rock):
    assert rock.says("tftpboot", end=True)
    assert rock.says("tftpboo")
    assert not rock.says("tftpboo", end=True)


def test_a_board_or_a_package_that_is_not_there_is_named():
    with pytest.raises(ConfigError, match=r"no U-Boot for 'rockpro65': it has .*rockpro64-rk3399"):
        uboot("u-boot-rockchip", "rockpro65")
    with pytest.raises(ConfigError, match="u-boot-nowhere"):
        uboot("u-boot-nowhere", "board")
