"""The board's zygote and agent-connect, run on this machine with folders of their own."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import execnet
import pytest

from lab.agent import ship
from lab.base import dirs
from lab.imaging import rootfs

LAB = dirs.root() / "images/overlay/usr/lib/lab"


@pytest.fixture
def connect(tmp_path):
    """The command of an agent-connect whose zygote runs."""
    run = tmp_path / "run"
    run.mkdir()
    for name in ("agent", "never"):
        os.mkfifo(run / name)
    script = tmp_path / "agent-connect"
    script.write_text((LAB / "agent-connect").read_text().replace("/run/lab", str(run)))
    program = (LAB / "zygote.py").read_text()
    for name, value in (("/run/lab", run), ("/usr/lib/lab", tmp_path), ("/root", tmp_path)):
        program = program.replace(f'"{name}', f'"{value}')
    (tmp_path / "zygote.py").write_text(program)
    sources = [str(word) for pair in rootfs.prepared_sources().items() for word in pair]
    prepare = [sys.executable, "-I", "-S", "-c", rootfs.PREPARE, str(tmp_path / "prepared.bin"), *sources]
    subprocess.run(prepare, check=True)
    zygote = subprocess.Popen([sys.executable, "-I", "-S", str(tmp_path / "zygote.py")])
    shell = shutil.which("bash")  # the board has busybox's shell; both have read -u
    assert shell
    yield [shell, str(script)]
    assert zygote.poll() is None, "the zygote has died"
    zygote.kill()
    zygote.wait()


def run(connect, line, rest=""):
    return subprocess.run(
        [*connect, "-u", "-c", "ignored"],
        input=f"{line!r}\n{rest}",
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )


def test_the_line_runs_with_the_callers_streams(connect):
    code = "import sys; print(sys.stdin.read()[::-1]); print('err', file=sys.stderr)"
    done = run(connect, code, "abc")
    assert (done.returncode, done.stdout, done.stderr) == (0, "cba\n", "err\n")


def test_each_caller_has_a_process_of_its_own(connect):
    numbers = {run(connect, "import os; print(os.getpid())").stdout for _ in range(40)}
    assert len(numbers) == 40


def test_many_at_once(connect):
    waiting = [
        subprocess.Popen(connect, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(8)
    ]
    answers = []
    for number, process in enumerate(waiting):
        answers.append(process.communicate(f"'print({number})'\n", timeout=20)[0])
    assert answers == [f"{number}\n" for number in range(8)]


def test_an_error_is_shown_and_ends_only_this_agent(connect):
    assert "ZeroDivisionError" in run(connect, "1/0").stderr
    assert run(connect, "raise SystemExit('bye')").returncode == 0
    assert run(connect, "print('still there')").stdout == "still there\n"


def test_a_caller_that_is_gone_does_no_harm(connect):
    fifo = Path(connect[1]).parent / "run" / "agent"
    ended = subprocess.Popen(["true"])
    ended.wait()
    fifo.write_text(f"{ended.pid}\n")
    assert run(connect, "print(1)").stdout == "1\n"


def test_execnet_works_over_it(connect):
    group = execnet.Group()
    gateway = group.makegateway(f"popen//python={' '.join(connect)}")
    try:
        channel = gateway.remote_exec("channel.send(channel.receive() + 1)")
        channel.send(41)
        assert channel.receive(timeout=20) == 42
        trace = gateway.remote_exec("import traceback; channel.send(traceback.format_list.__name__)")
        assert trace.receive(timeout=20) == "format_list"
        with pytest.raises(execnet.RemoteError, match=r"line 1, in <module>\n[^Z]*ZeroDivisionError"):
            gateway.remote_exec("1 / 0").waitclose(timeout=20)
        hints = gateway.remote_exec("import typing; channel.send(repr(typing.Optional[int]))")
        assert hints.receive(timeout=20) == "typing.Optional[int]"
    finally:
        group.terminate(timeout=5)


def test_what_execnet_hardly_uses_is_not_loaded_for_it(connect):
    """Each would take a quarter of a second of every boot; another execnet may use more of them."""
    folder = Path(connect[1]).parent
    script = (
        f"import runpy, sys; z = runpy.run_path({str(folder / 'zygote.py')!r})\n"
        "z['prepare']()\n"
        "print(sorted({'typing', 'tokenize'} & set(sys.modules)))"
    )
    words = [sys.executable, "-I", "-S", "-c", script]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert (done.stderr, done.stdout) == ("", "[]\n")


@pytest.mark.parametrize("own", [False, True])
def test_the_agent_is_the_host_s(connect, monkeypatch, own):
    """Code from the image runs only where its source is that of the host's agent; only the rest is sent."""
    sources = ship.sources()
    if own:
        sources["lab.agent.server"] = "def serve(channel):\n    channel.send('another agent')\n"
        monkeypatch.setattr(ship, "sources", lambda: sources)
    group = execnet.Group()
    gateway = group.makegateway(f"popen//python={' '.join(connect)}")
    try:
        channel = gateway.remote_exec(ship.boot_source())
        ship.ship(channel)
        if own:
            assert channel.receive(timeout=20) == "another agent"
        else:
            channel.send((1, "hello", {}))
            assert channel.receive(timeout=20)[:2] == (1, "ok")
        sent = gateway.remote_exec("import sys; channel.send([*sys.meta_path[0].sources])")
        wanted = {"lab", "lab.agent", *(["lab.agent.server"] if own else [])}  # packages have no code
        assert set(sent.receive(timeout=20)) == wanted
    finally:
        group.terminate(timeout=5)
