"""The command line: what it accepts, what it says, and that the demo does what it promises."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path

import pytest

import balancekit
from balancekit.__main__ import main as program
from balancekit.cli import main

COMMAND = [sys.executable, "-m", "balancekit"]


def unique(mark):
    """Return a mark that another run of the same test, at the same time, has not."""
    return f"{mark} of {os.getpid()};"


def children(mark):
    """Return the processes whose environment carries this mark, found by the kernel's own list."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if unique(mark).encode() in (process / "environ").read_bytes():
                found.append(int(process.name))
    return found


def start(mark, *words):
    """Start the demo in a process group of its own, marked for `children`."""
    return subprocess.Popen(
        [*COMMAND, "demo", *words],
        env=os.environ | {"DEMO_MARK": unique(mark)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def none_left(mark):
    """Wait, at most twenty seconds, for the last marked process to be gone."""
    until = time.monotonic() + 20.0
    while children(mark) and time.monotonic() < until:
        time.sleep(0.05)
    return children(mark) == []


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["demo", "--seconds", "soon"], "'soon' is not a number of seconds"),
        (["demo", "--seconds", "nan"], "'nan' is not a number of seconds"),
        (["demo", "--seconds", "-1"], "'-1' is not a number of seconds"),
        (["dance"], "invalid choice: 'dance'"),
    ],
)
def test_a_wrong_word_is_named(words, says, capsys):
    """Usage errors end with status 2 and name what was wrong."""
    with pytest.raises(SystemExit) as caught:
        main(words)
    assert caught.value.code == 2
    assert says in capsys.readouterr().err


def test_help_shows_the_commands(capsys):
    """The help of the command shows the demo."""
    with pytest.raises(SystemExit) as caught:
        main(["--help"])
    assert caught.value.code == 0
    assert "demo" in capsys.readouterr().out


def test_the_demo_loses_no_request():
    """A kill, a return, an addition and a drain on real servers: no caller sees a failure."""
    demo = start("mark-json", "--seconds", "8", "--json")
    out, err = demo.communicate(timeout=80)
    assert demo.returncode == 0, err
    report = json.loads(out)
    assert report["failures"] == 0
    assert report["requests"] >= 2_000
    names = {endpoint["id"] for endpoint in report["endpoints"]}
    assert len(names) == 5
    assert sum(endpoint["share"] for endpoint in report["endpoints"]) == pytest.approx(1.0, abs=0.01)
    assert sum(endpoint["requests"] for endpoint in report["burst"]) >= 2_000
    assert max(endpoint["p99"] for endpoint in report["burst"]) > max(e["p50"] for e in report["endpoints"])
    for endpoint in [*report["endpoints"], *report["burst"]]:
        assert 0 < endpoint["p50"] <= endpoint["p95"] <= endpoint["p99"]
    happened = {event["event"] for event in report["events"]}
    assert {"killed (SIGKILL)", "listens again", "added", "draining", "drained"} <= happened
    times = [event["time"] for event in report["events"]]
    assert times == sorted(times)
    assert none_left("mark-json")


def test_a_server_whose_parent_is_gone_ends_silently():
    """A server of the demo that cannot tell its port, as the demo was killed, ends without a traceback."""
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [sys.executable, "-m", "balancekit.cli._server", "--name", "a"],
        stdin=subprocess.PIPE,
        stdout=writer,
        stderr=subprocess.PIPE,
        timeout=30,
        check=False,
    )
    os.close(writer)
    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_demo_leaves_no_process(how):
    """Ctrl-C and SIGTERM end a demo early with status 130, and leave no process."""
    mark = f"mark-{how.name}"
    demo = start(mark, "--seconds", "30")
    until = time.monotonic() + 20.0
    while len(children(mark)) < 5 and time.monotonic() < until:
        time.sleep(0.05)
    time.sleep(1.0)
    demo.send_signal(how)
    demo.communicate(timeout=20)
    assert demo.returncode == 130
    assert none_left(mark)


def test_a_murdered_demo_leaves_no_process():
    """When a demo is killed by SIGKILL, its servers notice that their parent is gone and end."""
    demo = start("mark-kill", "--seconds", "30")
    until = time.monotonic() + 20.0
    while len(children("mark-kill")) < 5 and time.monotonic() < until:
        time.sleep(0.05)
    demo.kill()
    demo.communicate(timeout=20)
    assert none_left("mark-kill")


@pytest.mark.parametrize(
    "words",
    [[], pytest.param(["--tiers"], marks=pytest.mark.skipif(sys.platform != "linux", reason="is Linux's"))],
    ids=["demo", "tiers"],
)
def test_a_demo_writes_each_line_at_once_and_ends_with_its_reader(words):
    """The first line of a demo in a pipe can be read while it runs; without a reader it ends, and its processes with it."""
    mark = f"mark-pipe{len(words)}"
    demo = start(mark, "--seconds", "60", *words)
    assert demo.stdout is not None
    assert demo.stderr is not None
    assert " s  " in demo.stdout.readline()
    assert demo.poll() is None
    demo.stdout.close()
    assert demo.wait(timeout=50) == 141
    with demo.stderr as said:
        assert said.read() == ""
    assert none_left(mark)


@pytest.mark.parametrize(
    ("error", "says"),
    [(RuntimeError("server 'birch' ended"), "server 'birch' ended"), (TimeoutError(), "not ready in time")],
    ids=["ended", "late"],
)
def test_a_server_that_does_not_start_is_one_line(error, says, monkeypatch, capsys):
    """The demo ends with status 1 and why, not with a traceback."""

    async def run(self):
        raise error

    monkeypatch.setattr("balancekit.cli._demo.Demo.run", run)
    assert main(["demo", "--json"]) == 1
    written = capsys.readouterr()
    assert written.out == ""
    assert written.err.startswith("balancekit demo: ")
    assert says in written.err
    assert written.err.count("\n") == 1


@pytest.mark.parametrize(
    "words",
    [["simulate"], ["simulate", "weights"], ["bench", "disruption", "--quick"], ["--help"]],
    ids=" ".join,
)
def test_a_reader_who_goes_away_is_no_failure(words):
    """A reader that closes the pipe ends the command without a message. The status is that which shells know."""
    ours, theirs = os.pipe()
    os.close(ours)
    done = subprocess.run([*COMMAND, *words], stdout=theirs, stderr=subprocess.PIPE, text=True, check=False)
    os.close(theirs)
    assert (done.returncode, done.stderr) == (141, "")


@pytest.mark.parametrize(
    ("output", "said"), [(">&-", "standard output is closed"), (">/dev/full", "No space left on device")]
)
@pytest.mark.parametrize(
    "words",
    [
        ["simulate"],
        ["simulate", "weights"],
        ["plan", "--help"],
        ["--version"],
        ["gslb", "serve", "-h"],
        ["explain", "-h"],
        [],
    ],
    ids=" ".join,
)
def test_an_output_that_takes_nothing_is_one_line_and_status_1(words, output, said):
    """A closed standard output and a full disk end a command with one line on standard error and status 1."""
    command = " ".join([*COMMAND, *words, output])
    done = subprocess.run(command, shell=True, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert said in done.stderr


def test_the_version_is_that_of_the_package(capsys):
    """The version that the command and the module print is that of the package."""
    with pytest.raises(SystemExit):
        main(["--version"])
    assert (
        capsys.readouterr().out
        == f"balancekit {version('balancekit')}\n"
        == f"balancekit {balancekit.__version__}\n"
    )


@pytest.mark.parametrize("command", ["bench", "simulate"])
def test_an_interruption_is_no_accident(command, monkeypatch, capsys):
    """Ctrl-C ends a command with one line and the status that shells know, without a traceback."""

    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("balancekit.cli._bench.measure", interrupted)
    monkeypatch.setattr("balancekit.cli._simulate.load_scenario", interrupted)
    words = {"bench": ["bench", "latency", "--quick"], "simulate": ["simulate", "slow-server"]}
    assert main(words[command]) == 130
    assert capsys.readouterr() == ("", f"balancekit {command}: interrupted\n")


def test_an_interruption_while_the_command_loads_is_no_accident(monkeypatch):
    """Ctrl-C before a command begins ends the process with the status that shells know, without a traceback."""

    def interrupted():
        raise KeyboardInterrupt

    monkeypatch.setattr("balancekit.cli.main", interrupted)
    assert program() == 130
