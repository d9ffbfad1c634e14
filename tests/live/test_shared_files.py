"""The file of shared loads where it cannot be: other users, no permission, a full disk, and when it is taken away."""

from __future__ import annotations

import ast
import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from tests.concurrency.test_fork import in_child

from balancekit import ConfigurationError, LoadBalancer, PowerOfChoices
from balancekit.loads import InFlight
from balancekit.sharing import Shared, in_flight
from balancekit.testing import ManualClock

OTHER_USER = 65_534

pytestmark = pytest.mark.filterwarnings("ignore:a lease of endpoint")
as_root = pytest.mark.skipif(
    os.name != "posix" or os.geteuid() != 0, reason="needs root, to be another user or to mount"
)


def balancer(file):
    """Make a balancer that shares."""
    return LoadBalancer(["a", "b"], selector=PowerOfChoices(), load=Shared(InFlight(), file=file))


def refused(file, words):
    """Return whether a balancer is refused with the file and the reason in its error."""
    try:
        balancer(file)
    except ConfigurationError as error:
        return str(file) in str(error) and words in str(error)
    return False


def as_another_user(check):
    """Run a check in a process of another user; return its answer as text."""

    def lowered():
        os.setgroups([])
        os.setresgid(OTHER_USER, OTHER_USER, OTHER_USER)
        os.setresuid(OTHER_USER, OTHER_USER, OTHER_USER)
        return check()

    return in_child(lowered)


@pytest.fixture
def open_folder():
    """Return a directory that every user may reach and write to; pytest's own are closed to others by each session."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o1777)
        yield folder


@as_root
def test_a_file_of_another_user_is_refused(open_folder):
    """A file of another user is refused in either direction.

    Neither process is harmed, and the file keeps its owner.
    """
    file = open_folder / "loads"
    assert in_child(lambda: balancer(file).acquire().release()) == "True"
    assert as_another_user(lambda: refused(file, "a file of this user (Permission denied)")) == "True"
    lb = balancer(file)
    with lb.acquire():
        assert sum(in_flight(file, ["a", "b"]).values()) == 1
    # A worker that gives up its rights after it was forked keeps what its parent had open.
    assert as_another_user(lambda: balancer(file).acquire().release()) == "True"
    theirs = open_folder / "theirs"
    assert as_another_user(lambda: balancer(theirs).acquire().release()) == "True"
    assert refused(theirs, "a file that balancekit made for this user")
    assert theirs.stat().st_uid == OTHER_USER


@as_root
def test_a_directory_that_cannot_be_written_to_is_named(open_folder):
    """A directory that cannot be written to is named with the reason of the system, and nothing is left behind."""
    folder = open_folder / "fixed"
    folder.mkdir(mode=0o755)
    assert (
        as_another_user(lambda: refused(folder / "loads", "a place for a file (Permission denied)")) == "True"
    )
    assert list(folder.iterdir()) == []


@as_root
def test_a_file_that_may_not_be_written_is_named(open_folder):
    """A file whose permission to write its owner has taken away is named in the error."""
    file = open_folder / "loads"
    assert as_another_user(lambda: balancer(file).acquire().release()) == "True"
    file.chmod(0o400)
    assert as_another_user(lambda: refused(file, "a file of this user (Permission denied)")) == "True"


FRESH = """
import sys
from balancekit import ConfigurationError, LoadBalancer, PowerOfChoices
from balancekit.loads import InFlight
from balancekit.sharing import Shared
try:
    lb = LoadBalancer(["a", "b"], selector=PowerOfChoices(), load=Shared(InFlight(), file=sys.argv[1]))
    print(all(lb.acquire().release() for _ in range(1000)))
except ConfigurationError as error:
    print(error)
"""


@as_root
@pytest.mark.skipif(shutil.which("unshare") is None, reason="needs unshare, to mount a small disk")
def test_a_full_disk_is_an_error_and_not_the_end_of_the_process(tmp_path):
    """A file takes its whole place when it is made: on a disk without, the error names it, and no draft is left."""
    script = (
        f"mount -t tmpfs -o size=64k none {tmp_path} && {sys.executable} -c '{FRESH}' {tmp_path}/loads; "
        f"echo status $?; ls -A {tmp_path} | wc -l"
    )
    found = subprocess.run(
        ["unshare", "--mount", "sh", "-c", script], capture_output=True, text=True, check=False, timeout=60
    )
    if "mount:" in found.stderr:
        pytest.skip("no mounts may be made here")
    lines = found.stdout.splitlines()
    assert "a place for a file (No space left on device)" in lines[0]
    assert lines[1:] == ["status 0", "0"]


def test_a_file_taken_away_leaves_its_workers_together(tmp_path):
    """If a file is taken away, workers that have it open go on sharing.

    Later ones share a new file, and no request fails.
    """
    file = tmp_path / "loads"
    first, second = balancer(file), balancer(file)
    held = [first.acquire() for _ in range(4)]
    Path(file).unlink()
    for _ in range(100):
        second.acquire().release()
    third = balancer(file)
    with third.acquire():
        assert sum(in_flight(file, ["a", "b"]).values()) == 1
    for lease in held:
        assert lease.release()
    first.acquire().release()


@pytest.mark.parametrize("place", ["missing/loads", "file/loads", "folder"])
def test_places_that_are_none_are_named(place, tmp_path):
    """The error names the path that is no place for a file. It may be missing, be below a file, or be a directory."""
    (tmp_path / "file").write_text("")
    (tmp_path / "folder").mkdir()
    assert refused(tmp_path / place, "(")


READER = """
import sys
from balancekit.sharing import in_flight
print(in_flight(sys.argv[1], ["a", "b", "c", "d"]))
"""
WORKER = """
import sys
from balancekit import LoadBalancer, PowerOfChoices
from balancekit.loads import InFlight
from balancekit.sharing import Shared
lb = LoadBalancer(["c", "d"], selector=PowerOfChoices(), load=Shared(InFlight(), file=sys.argv[1]))
held = [lb.acquire() for _ in range(4)]
print("ready", flush=True)
for _ in sys.stdin:
    lb.acquire().release()  # after which it has published its counts again
    print("done", flush=True)
"""


def seen_elsewhere(file):
    """Return what a process of its own reads."""
    found = subprocess.run([sys.executable, "-c", READER, file], capture_output=True, text=True, check=True)
    return ast.literal_eval(found.stdout)


@pytest.mark.parametrize("rival", ["none", "lives", "has ended"])
def test_a_file_that_other_code_of_the_process_closes_is_shared_again(rival, tmp_path, caplog):
    """Closing any descriptor of the file releases the locks of the process: it takes its row again, or another one."""
    file, clock = tmp_path / "loads", ManualClock()
    lb = LoadBalancer(["a", "b"], selector=PowerOfChoices(), load=Shared(InFlight(), file=file), clock=clock)
    held = [lb.acquire() for _ in range(6)]
    file.read_bytes()
    assert seen_elsewhere(file) == dict.fromkeys("abcd", 0)
    with contextlib.ExitStack() as stack:
        if rival != "none":
            worker = subprocess.Popen(
                [sys.executable, "-W", "ignore", "-c", WORKER, file],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            stack.callback(worker.communicate)
            assert worker.stdout.readline() == "ready\n"
            if rival == "has ended":
                worker.communicate()
        clock.advance(1.0)
        lb.acquire().release()
        if rival == "lives":
            worker.stdin.write("\n")
            worker.stdin.flush()
            assert worker.stdout.readline() == "done\n"
        others = {"c": 2, "d": 2} if rival == "lives" else {"c": 0, "d": 0}
        assert seen_elsewhere(file) == {"a": 3, "b": 3, **others}
    assert ("takes a new one" in caplog.text) is (rival != "none")
    for lease in held:
        assert lease.release()
    assert seen_elsewhere(file) == dict.fromkeys("abcd", 0)
