from __future__ import annotations

import stat
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from lab.base.errors import LabError
from lab.rack.keys import boot_files, keys, known_hosts


def members(data: bytes) -> dict[str, tuple[int, bytes]]:
    """Path -> mode and content, read as the kernel does (init/initramfs.c), alignment included."""
    found, offset = {}, 0
    while True:
        assert data[offset : offset + 6] == b"070701"
        fields = [int(data[offset + 6 + 8 * i : offset + 14 + 8 * i], 16) for i in range(13)]
        mode, size, name_size = fields[1], fields[6], fields[11]
        name = data[offset + 110 : offset + 110 + name_size - 1].decode()
        body = offset + 110 + name_size
        body += -body % 4
        if name == "TRAILER!!!":
            return found
        found[name] = (mode, data[body : body + size])
        offset = body + size + -size % 4


def test_keys_are_made_once_by_whoever_is_first(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(keys, [tmp_path / "keys"] * 8))
    assert {path.name for path in tmp_path.iterdir()} == {"keys"}
    before = found[0].client.read_bytes()
    assert keys(tmp_path / "keys").client.read_bytes() == before
    assert stat.S_IMODE(found[0].client.stat().st_mode) == 0o600
    assert found[0].client.read_bytes() != found[0].host.read_bytes()


def test_a_folder_without_keys_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "keys").mkdir()
    (tmp_path / "keys" / "mine").touch()
    with pytest.raises(LabError, match="holds no keys"):
        keys(tmp_path / "keys")
    assert [path.name for path in tmp_path.iterdir()] == ["keys"]


def test_ssh_finds_the_pinned_key_of_each_port_and_of_no_other(tmp_path: Path) -> None:
    found = keys(tmp_path / "keys")
    hosts = tmp_path / "known_hosts"
    hosts.write_text(known_hosts(found, [2201, 2202]))

    def lookup(port: int) -> str:
        command = ["ssh-keygen", "-F", f"[127.0.0.1]:{port}", "-f", str(hosts)]
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout

    public = " ".join(found.host_public.read_text().split()[:2])
    assert public in lookup(2201)
    assert public in lookup(2202)
    assert lookup(2203) == ""


def test_the_board_gets_the_private_half_that_ssh_will_see(tmp_path: Path) -> None:
    found = keys(tmp_path / "keys")
    entries = members(boot_files(found))
    key_mode, key = entries["lab/ssh_host_key"]
    private = tmp_path / "private"
    private.write_bytes(key)
    command = ["dropbearkey", "-y", "-f", str(private)]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    derived = next(line for line in said.splitlines() if line.startswith("ssh-ed25519"))
    assert derived.split()[:2] == found.host_public.read_text().split()[:2]
    assert entries["lab/authorized_keys"][1] == found.client_public.read_bytes()
    assert key_mode == stat.S_IFREG | 0o600
