"""Command lines of the VMMs: pure functions of the configuration."""

from __future__ import annotations

import subprocess
from itertools import pairwise
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.agent.vhost_device import SOCKET
from lab.base.errors import ConfigError
from lab.boards.guest import REFUSES
from lab.boards.vmm import Vmm
from lab.boards.vmms import COMMANDS, Places, command, crosvm, qemu, version_command
from lab.boards.vmms.version import title
from lab.imaging.own.given import VMM_FOLDER
from lab.imaging.own.vmm import PROGRAMS

configurations = st.builds(
    Vmm,
    kind=st.sampled_from(sorted(COMMANDS)),
    kernel=st.sampled_from(["board", "backports"]),
    memory=st.sampled_from(["256M", "512M", "1G"]),
    backing=st.sampled_from(["memfd", "hugetlb"]),
    gpu=st.sampled_from(["blob", "2d", "virgl", "virgl-blob", "none"]),
    video=st.sampled_from(["none", "vfio"]),
    cmdline=st.sampled_from(["", "swiotlb=noforce one.two=3"]),
)
PLACES = Places(decoder="0000:00:01.0")


def option(argv, name):
    """The values of each ``name VALUE`` in a command line."""
    return [value for word, value in pairwise(argv) if word == name]


@given(configurations)
def test_every_configuration_has_its_console_its_words_and_its_vsock(vmm):
    """What the lab relies on, whatever the VMM: it would wait in vain for a guest without."""
    made = command(vmm, PLACES)
    text = "\n".join(made.argv)
    assert "/run/lab/vm/console" in text
    assert "cid=3" in text
    assert "/dev/vda" in text
    (words,) = option(made.argv, "-append") or option(made.argv, "--params")
    assert {"lab.role=guest", "panic=-1", "drm_kms_helper.fbdev_emulation=0"} <= set(words.split())
    assert words.endswith(vmm.cmdline)
    assert ("0000:00:01.0" in text) == (vmm.video == "vfio")
    suffix = "-backports" if vmm.kernel == "backports" else ""
    assert f"/boot/vmlinuz{suffix}" in made.argv
    assert f"/boot/initrd{suffix}" in made.argv
    assert made.needs


@given(configurations)
def test_two_configurations_differ_where_they_say_so(vmm):
    other = vmm.model_copy(update={"gpu": "blob" if vmm.gpu != "blob" else "2d"})
    assert command(vmm, PLACES) != command(other, PLACES)
    assert command(vmm, PLACES) == command(vmm.model_copy(), PLACES)


@pytest.mark.parametrize(
    ("gpu", "device"),
    [
        ("blob", "virtio-gpu-pci,id=gpu,blob=on,romfile="),
        ("2d", "virtio-gpu-pci,id=gpu,romfile="),
        ("virgl", "virtio-gpu-gl-pci,id=gpu,romfile="),
    ],
)
def test_qemu_has_the_gpu_that_was_asked_and_writes_its_trace(gpu, device):
    argv = command(Vmm(gpu=gpu), PLACES).argv
    assert device in option(argv, "-device")
    assert option(argv, "-d") == ["trace:virtio_gpu_cmd_*"]
    assert option(argv, "-D") == ["/run/lab/vm/trace"]


def test_qemu_without_gpu_has_no_trace():
    argv = command(Vmm(gpu="none"), PLACES).argv
    assert not [word for word in argv if "gpu" in word and "drm" not in word]
    assert "-D" not in argv


def test_virgl_on_the_software_renderer_says_so_to_mesa():
    software = command(Vmm(gpu="virgl"), PLACES)
    assert option(software.argv, "-display") == ["dbus,p2p=on,gl=on,rendernode=/dev/null"]
    assert software.env == {"GBM_ALWAYS_SOFTWARE": "1", "GALLIVM_PERF": "nopt"}
    real = command(Vmm(gpu="virgl", rendernode="/dev/dri/renderD128"), PLACES)
    assert "rendernode=/dev/dri/renderD128" in "".join(option(real.argv, "-display"))
    assert real.env == {}


def test_guest_memory_is_a_memfd_that_others_can_map():
    (plain,) = option(command(Vmm(memory="512M"), PLACES).argv, "-object")
    assert plain == "memory-backend-memfd,id=ram,size=512M,share=on"
    (huge,) = option(command(Vmm(backing="hugetlb"), PLACES).argv, "-object")
    assert "hugetlb=on,hugetlbsize=2M" in huge
    assert (Vmm().hugepages, Vmm(backing="hugetlb").hugepages) == (0, 256)
    assert Vmm(memory="1G", backing="hugetlb").hugepages == 512


def test_memory_in_a_bar_has_a_device_behind_the_boards_socket():
    """A number for which QEMU has no name ends it (virtio_id_to_name), and so does an absent option ROM."""
    argv = command(Vmm(memory_bar="/run/x"), PLACES).argv
    assert option(argv, "-chardev") == ["socket,id=memory,path=/run/x"]
    (device,) = [value for value in option(argv, "-device") if value.startswith("vhost-user")]
    words = device.split(",")
    assert {"chardev=memory", "virtio-id=31", "romfile="} <= set(words)


def test_binaries():
    assert command(Vmm(), PLACES).argv[0] == "qemu-system-aarch64"
    assert command(Vmm(binary="qemu-11"), PLACES).argv[0] == "/opt/qemu-11/bin/qemu-system-aarch64"
    assert command(Vmm(binary="/opt/mine/qemu"), PLACES).argv[0] == "/opt/mine/qemu"
    assert command(Vmm(kind="crosvm", binary="/opt/crosvm"), PLACES).argv[0] == "/opt/crosvm"


def test_every_vmm_knows_every_gpu():
    kinds = set(get_args(Vmm.model_fields["gpu"].annotation)) - {"none"}
    assert kinds == set(qemu.GPUS) - {"none"} == set(crosvm.GPUS)
    for kind in kinds:
        assert command(Vmm(gpu=kind), PLACES).argv
        assert command(Vmm(kind="crosvm", gpu=kind), PLACES).argv


def test_a_guest_that_has_the_decoder_is_in_no_snapshot():
    assert Vmm(gpu="virgl", backing="hugetlb").saveable
    assert Vmm(memory_bar=SOCKET, video="slot").saveable
    assert not Vmm(memory_bar=SOCKET, video="vfio").saveable
    assert not Vmm(memory_bar="/run/x").saveable, "nobody knows who shows it memory"
    assert not Vmm(video="vfio").saveable


def test_crosvm_has_no_memory_in_a_bar():
    with pytest.raises(ConfigError, match="crosvm has no vhost-user device"):
        command(Vmm(kind="crosvm", memory_bar="/run/x"), PLACES)


def test_crosvm_as_a_whole():
    """Its command line is read by nobody here: there is no binary of it. Written down in one piece."""
    made = command(Vmm(kind="crosvm", backing="hugetlb", extra=("--protected-vm",)), PLACES)
    words = option(made.argv, "--params")[0]
    expected = (
        "crosvm run --disable-sandbox --cpus 1 --mem 512 --hugepages --initrd /boot/initrd --params WORDS "
        "--block path=/dev/vda,ro=true --vsock cid=3 "
        "--serial type=file,hardware=serial,num=1,console=true,path=/run/lab/vm/console "
        "--socket /run/lab/vm/control --gpu backend=2d,udmabuf=true,external-blob=true --protected-vm "
        "/boot/vmlinuz"
    )
    assert " ".join(made.argv).replace(words, "WORDS") == expected
    assert words.startswith("console=ttyS0 ")
    assert "crosvm is in no distribution" in made.needs


def test_a_slot_for_a_decoder_that_comes_later():
    made = command(Vmm(video="slot"), Places())
    assert f"pcie-root-port,id={qemu.SLOT},chassis=1" in option(made.argv, "-device")
    with pytest.raises(ConfigError, match="needs QEMU"):
        command(Vmm(kind="crosvm", video="slot"), PLACES)


@pytest.mark.parametrize("kind", sorted(COMMANDS))
def test_vfio_needs_a_device(kind):
    with pytest.raises(ConfigError, match="needs a decoder"):
        command(Vmm(kind=kind, video="vfio"), Places())


def test_results_name_the_vmm_and_its_version():
    own = {"vmm": {"name": "qemu=build", "digest": "0123456789abcdef"}}
    assert title(Vmm(), "10.0.13", {}) == "QEMU 10.0.13"
    assert title(Vmm(binary="qemu-11"), "11.1.3", own) == "QEMU 11.1.3"
    assert title(Vmm(binary="own"), "11.1.50", own) == "QEMU 11.1.50 0123456"
    assert title(Vmm(binary="/usr/local/bin/qemu"), "9.2.0", {}) == "QEMU 9.2.0 /usr/local/bin/qemu"
    assert title(Vmm(kind="crosvm"), "", {}) == "crosvm"


def test_a_vmm_of_ones_own_lies_where_the_image_puts_it():
    for kind, program in PROGRAMS.items():
        vmm = Vmm(kind=kind, binary="own")
        assert command(vmm, PLACES).argv[0] == f"{VMM_FOLDER}/{program}"
        assert version_command(vmm) == ([f"{VMM_FOLDER}/{program}", "version"] if kind == "crosvm" else [])


@pytest.mark.parametrize(
    "words",
    [
        ["-device", "no-such-device"],
        ["-device", "edu,nosuch=1"],
        ["-M", "virt,nosuch=1"],
        ["-display", "nosuch"],
        ["-no-such-option"],
    ],
)
def test_what_qemu_lacks_is_known_by_its_words(words):
    program = ["qemu-system-aarch64", "-M", "virt", "-nodefaults", "-S", "-display", "none"]
    done = subprocess.run([*program, *words], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode
    assert REFUSES.search(done.stderr), done.stderr


def test_a_file_that_is_not_there_is_nothing_that_qemu_lacks():
    program = ["qemu-system-aarch64", "-M", "virt", "-nodefaults", "-S", "-display", "none"]
    argv = [*program, "-kernel", "/nothing"]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode
    assert not REFUSES.search(done.stderr), done.stderr
