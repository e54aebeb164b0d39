"""One rack and one board for the tests that boot; they take it from each other as it is."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.boards import Board, Target, load_target, preload
from lab.imaging import Image, build
from lab.imaging.kernels import KernelFiles, Kernels
from lab.rack import Machine, Rack


@pytest.fixture(scope="session")
def smmu() -> Target:
    return load_target("virt-smmu")


@pytest.fixture(scope="session")
def real_image(smmu: Target) -> Image:
    return build(smmu.image)


@pytest.fixture(scope="session")
def kernels(smmu: Target) -> list[KernelFiles]:
    """Debian's kernels, that of trixie first; the cache has them after the first fetch on a machine."""
    images = Kernels.of(smmu.image)
    assert images.missing == {}, "a check against one kernel alone would pass unseen"
    return images.found


@pytest.fixture(scope="session")
def rack(smmu: Target, real_image: Image, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rack]:
    preload()
    machine = Machine.model_validate(smmu.virtual)
    directory = tmp_path_factory.mktemp("rack")
    with Rack.start({smmu.name: machine}, image=real_image, directory=directory) as started:
        yield started


def open_board(target: Target, rack: Rack, name: str, image: Image, directory: Path) -> Board:
    """Board ``name`` of ``rack``, booted as ``target`` says."""
    environment = target.write_environment(
        directory,
        resources=rack.resources(name),
        image=image,
        keyfile=rack.keyfile,
        boot_files=rack.boot_files,
    )
    return Board.open(environment, target, image, log_tail=lambda: rack.log_tail(name))


@pytest.fixture(scope="session")
def board(
    smmu: Target, rack: Rack, real_image: Image, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Board]:
    """In whatever state the test before left it: a test calls ``boot`` with the mode that it needs."""
    with open_board(smmu, rack, smmu.name, real_image, tmp_path_factory.mktemp("board")) as opened:
        yield opened


@pytest.fixture
def qemu(rack: Rack, smmu: Target):
    """The process id of the running board's QEMU, when it is called."""

    def pid() -> int:
        found = rack.status()[smmu.name].pid
        assert found is not None, "the board is off"
        return found

    return pid
