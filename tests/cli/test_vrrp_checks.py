"""Commands that ``vrrp run`` checks a router with: beside each other, in time, and without what they leave behind."""

from __future__ import annotations

import os
import select
import shutil
import signal
import sys

import pytest

from balancekit.cli._ending import Ending
from balancekit.cli._vrrp_checks import CHECK_TIMEOUT_S, CommandCheck, run_checks

pytestmark = pytest.mark.skipif(shutil.which("sh") is None, reason="needs a POSIX shell")
HANG = [sys.executable, "-c", "import time; time.sleep(1000)"]


def results(commands, count, every=0.01):
    """Run commands until they have ended so often; return the names and results in order."""
    ended, found = Ending(), []

    def report(name, passed):
        found.append((name, passed))
        if len(found) >= count:
            ended.set()

    run_checks({name: CommandCheck(words, every) for name, words in commands.items()}, report, ended)
    return found


def has_ended(pid, patience=10.0):
    """Return whether a process has ended, or ends within some seconds."""
    try:
        ends = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([ends], [], [], patience)[0])
    finally:
        os.close(ends)


def test_a_command_passes_if_it_exits_with_0():
    """Any other status fails, as does a program that is gone since the start."""
    assert results({"a": ["sh", "-c", "exit 0"]}, 2) == [("a", True)] * 2
    assert results({"a": ["sh", "-c", "exit 3"]}, 2) == [("a", False)] * 2
    assert results({"a": ["/no/such/program"]}, 2) == [("a", False)] * 2


def test_a_command_that_hangs_delays_no_other():
    """The others are run in their own time meanwhile, and report."""
    found = results({"hangs": HANG, "fails": ["sh", "-c", "exit 1"]}, 3)
    assert found == [("fails", False)] * 3


def test_a_command_that_hangs_fails_after_its_time():
    """It is killed then, and started again when it is due; until then it runs once."""
    check = CommandCheck(HANG, every=1.0)
    try:
        assert check.advance(100.0) is None
        assert check.due_in(100.0) < 1.0
        assert check.advance(101.5) is None
        assert check.advance(99.9 + CHECK_TIMEOUT_S) is None
        assert check.advance(100.0 + CHECK_TIMEOUT_S) is False
        assert check.due_in(100.0 + CHECK_TIMEOUT_S) == 0.0
    finally:
        check.kill()


def test_a_command_starts_again_after_its_interval():
    """The interval is between two starts."""
    check = CommandCheck(["/no/such/program"], every=5.0)
    assert check.due_in(100.0) == 0.0
    assert check.advance(100.0) is False
    assert (check.due_in(102.0), check.advance(104.9)) == (3.0, None)
    assert check.advance(105.0) is False


@pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="needs Linux")
@pytest.mark.parametrize("how", ["time", "end"])
def test_what_a_killed_command_has_started_is_killed(how, tmp_path):
    """A shell's own children too, when its time is over and when the router ends: each check would leave one more."""
    file = tmp_path / "pid"
    words = ["sh", "-c", f"sleep 1000 & echo $! > {file}.new; mv {file}.new {file}; wait"]
    if how == "end":
        ready = ["sh", "-c", f"while ! test -e {file}; do sleep 0.01; done"]
        assert results({"hangs": words, "ready": ready}, 1) == [("ready", True)]
    else:
        check = CommandCheck(words, every=1.0)
        assert check.advance(0.0) is None
        results({"ready": ["sh", "-c", f"while ! test -e {file}; do sleep 0.01; done"]}, 1)
        assert check.advance(CHECK_TIMEOUT_S) is False
    assert has_ended(int(file.read_text()))


@pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="needs Linux")
def test_what_a_passed_command_has_started_goes_on(tmp_path):
    """A check may start a service."""
    file = tmp_path / "pid"
    words = ["sh", "-c", f"sleep 1000 > /dev/null 2>&1 & echo $! > {file}"]
    assert results({"starts": words}, 1, every=1000.0) == [("starts", True)]
    pid = int(file.read_text())
    assert not has_ended(pid, patience=0.2)
    os.kill(pid, signal.SIGKILL)


def test_a_command_reads_nothing_from_the_terminal():
    """Its input is empty: it would take what is typed, or wait for it."""
    assert results({"reads": ["sh", "-c", 'test -z "$(cat)"']}, 1) == [("reads", True)]


def test_without_commands_nothing_runs_until_the_end():
    """The router then runs until a signal."""
    ended = Ending()
    ended.set()
    run_checks({}, lambda *_: None, ended)
