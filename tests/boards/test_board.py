"""A real board: booted into each mode, and lost in each way that a lab knows.

The tests share the board and run in this order, so that most find it booted in the mode they ask for.
"""

from __future__ import annotations

import os
import signal
import threading
import time

import pytest

from lab.base.errors import ConfigError, LabError
from lab.base.words import IommuMode
from lab.boards import CallError, LostBoardError, load_target
from tests.boards.conftest import open_board

pytestmark = pytest.mark.board


@pytest.mark.parametrize(
    ("mode", "kind", "word"),
    [
        (IommuMode.TRANSLATED, "DMA", "iommu.strict=1"),
        (IommuMode.PASSTHROUGH, "identity", "iommu.passthrough=1"),
        (IommuMode.OFF, "no group", ""),
    ],
)
def test_boots_into_the_mode_that_was_asked(board, smmu, mode, kind, word):
    board.boot(mode)
    assert (board.mode, board.verified) == (mode, kind)
    assert word in board.facts["cmdline"]
    assert bool(board.facts["iommus"]) == (mode is not IommuMode.OFF)
    # what verified claims, asked by another way than the one that decided it
    for decoder in smmu.decoders:
        link = f"/sys/bus/pci/devices/{decoder.device}/iommu_group/type"
        answer = board.agent.run(["cat", link])
        assert answer["stdout"].decode().strip() == ("" if kind == "no group" else kind)
    assert list(board.times) == ["uboot", "kernel", "linux", "ssh", "agent", "verified"]


def test_boot_into_the_present_mode_does_nothing(board):
    board.boot(IommuMode.OFF)
    boot_id = board.agent.call("hello")["boot_id"]
    board.boot("off")
    assert board.agent.call("hello")["boot_id"] == boot_id


def test_unknown_mode_leaves_the_board_alone(board):
    board.boot(IommuMode.OFF)
    with pytest.raises(ConfigError, match="no IOMMU mode 'none': it has translated"):
        board.boot("none")
    assert board.mode is IommuMode.OFF


def test_a_board_that_is_taken_as_booted_is_not_booted_again(board):
    board.boot(IommuMode.OFF)
    boot_id = board.agent.call("hello")["boot_id"]
    strategy = board._strategy
    strategy.status, strategy.booted = type(strategy.status).unknown, None  # as labgrid-client begins
    strategy.force("linux")
    strategy.transition("linux")
    assert board.agent.call("hello")["boot_id"] == boot_id


def test_error_on_the_board_carries_errno(board):
    board.boot(IommuMode.OFF)
    with pytest.raises(CallError) as caught:
        board.agent.call("load", module="no_such_module")
    assert "no_such_module" in str(caught.value)
    board.agent.call("hello")


def test_console_slice_holds_what_was_written_meanwhile(board):
    board.boot(IommuMode.OFF)
    board.agent.run(["sh", "-c", "echo early words >/dev/console"])
    time.sleep(0.2)  # the UART is slower than ssh
    mark = board.mark()
    board.agent.run(["sh", "-c", "echo late words >/dev/console"])
    deadline = time.monotonic() + 5
    while "late words" not in board.console_since(mark) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert "late words" in board.console_since(mark)
    assert "early words" not in board.console_since(mark)
    assert "early words" in board.console_since(0)


def test_invalidated_board_is_booted_afresh_after_its_death_in_a_call(board, qemu):
    """QEMU killed in the middle of a call: told at once, and the next boot brings the board back."""
    board.boot(IommuMode.OFF)
    boot_id = board.agent.call("hello")["boot_id"]
    threading.Timer(0.5, os.kill, (qemu(), signal.SIGKILL)).start()
    with pytest.raises(LostBoardError, match="virt-smmu: connection lost during run"):
        board.agent.run(["sleep", "60"])
    began = board.mark()
    board.boot(IommuMode.OFF)
    assert board.agent.call("hello")["boot_id"] != boot_id
    assert "Uncompressed size" in board.console_since(began), "the kernel comes compressed: boot.packed"


def test_stopped_board_counts_as_hung(board, qemu):
    board.boot(IommuMode.OFF)
    threading.Timer(0.5, os.kill, (qemu(), signal.SIGSTOP)).start()
    with pytest.raises(LostBoardError, match=r"virt-smmu: hangs: no answer for .* during run"):
        board.agent.run(["sleep", "120"], timeout=120)
    board.power_off()
    with pytest.raises(LabError, match="virt-smmu is not booted"):
        _ = board.agent


def test_death_in_the_middle_of_a_boot_is_told_with_the_logs(board, rack, smmu, qemu):
    board.power_off()  # it may be in that mode already
    log = rack.console_log(smmu.name)
    before = log.stat().st_size

    def kill_while_loading() -> None:
        while b"Loading: " not in log.read_bytes()[before:]:
            time.sleep(0.02)
        os.kill(qemu(), signal.SIGKILL)

    threading.Thread(target=kill_while_loading, daemon=True).start()
    with pytest.raises(
        LostBoardError, match="virt-smmu: the board lost its power while waiting for"
    ) as caught:
        board.boot(IommuMode.OFF)
    assert "Loading: " in caught.value.detail, "the console's last lines"
    assert "QEMU" in caught.value.detail, "the rack's last lines"
    assert board.mode is None


@pytest.mark.parametrize("line", [1024, 512], ids=["in one line", "in two lines"])
def test_command_that_uboot_refuses_is_told(smmu, rack, real_image, tmp_path, line):
    wrong = tmp_path / "wrong.yaml"
    text = smmu.path.read_text().replace("attached: [/pcie@10000000]", "attached: [/nothing]")
    wrong.write_text(text.replace("line: 1024", f"line: {line}"))
    target = load_target(wrong)
    with (
        open_board(target, rack, smmu.name, real_image, tmp_path) as board,
        pytest.raises(LostBoardError, match="wrong: U-Boot failed while waiting for"),
    ):
        board.boot(IommuMode.OFF)


def test_mode_that_does_not_take_is_a_fault_of_the_lab(smmu, rack, real_image, tmp_path):
    """A board that comes up translated where passthrough was asked must never look like a result."""
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text(smmu.path.read_text().replace("[iommu.passthrough=1]", "[iommu.passthrough=0]"))
    target = load_target(wrong)
    said = r"asked for IOMMU mode passthrough, but decoder wide .* in a group of type DMA, not .* identity"
    with open_board(target, rack, smmu.name, real_image, tmp_path) as board:
        with pytest.raises(LabError, match=said):
            board.boot(IommuMode.PASSTHROUGH)
        assert board.mode is None
        assert board.verified == ""
