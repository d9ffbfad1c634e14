"""Workers that share a mapped file: they die, are recycled, fork and run different configurations."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time

import pytest
from tests.concurrency.test_fork import in_child

from balancekit import LoadBalancer, PowerOfChoices
from balancekit.loads import InFlight
from balancekit.sharing import Shared, in_flight

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="there are no record locks here")

WORKER = """
import json, sys
from balancekit import LoadBalancer, PowerOfChoices
from balancekit.loads import InFlight
from balancekit.sharing import Shared

file, ids, leases = json.loads(sys.argv[1])
lb = LoadBalancer(ids, selector=PowerOfChoices(), load=Shared(InFlight(), file=file))
held = [lb.acquire() for _ in range(leases)]
print(json.dumps([lease.target for lease in held]), flush=True)
sys.stdin.read()
for lease in held:
    lease.release()
"""


class Program:
    """A process of its own with open leases; complains of every warning."""

    def __init__(self, file, ids, leases):
        arguments = json.dumps([str(file), ids, leases])
        self.process = subprocess.Popen(
            [sys.executable, "-W", "error", "-c", WORKER, arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def held(self):
        """Return what it holds, once it does."""
        line = self.process.stdout.readline()
        assert line, self.process.stderr.read()
        return json.loads(line)

    def end(self):
        """Have it end by itself; return what it complained of."""
        _, complaints = self.process.communicate("")
        return complaints


class Worker:
    """A forked process with open leases."""

    def __init__(self, file, ids, leases):
        answers, answer = os.pipe()
        command, self.commands = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            os.close(self.commands)
            code = 1
            try:
                lb = sharing(ids, file)
                held = [lb.acquire() for _ in range(leases)]
                os.write(answer, json.dumps([lease.target for lease in held]).encode() + b"\n")
                os.read(command, 1)
                for lease in held:
                    lease.release()
                code = 0
            finally:
                os._exit(code)
        os.close(answer)
        os.close(command)
        with os.fdopen(answers) as answers:
            self.targets = json.loads(answers.readline())

    def end(self):
        """Have it end by itself; return its exit code."""
        os.write(self.commands, b"end")  # closing would not do: workers forked later hold it open
        os.close(self.commands)
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])

    def kill(self):
        """End it in the middle of its requests."""
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        os.close(self.commands)


def counts(ids, *held):
    """Return how often each endpoint is held."""
    return {id: sum(targets.count(id) for targets in held) for id in ids}


def sharing(ids, file):
    """Return a balancer that shares."""
    return LoadBalancer(
        ids, selector=PowerOfChoices(), load=Shared(InFlight(), file=file), rng=random.Random(1)
    )


def known(lb):
    """Return what a balancer knows of others, after a request."""
    with lb.acquire() as lease:
        return {id: load.others for id, load in lease.node.load.pool.loads.items()}


def test_three_of_eight_killed_in_mid_request(tmp_path):
    """Within a second of SIGKILL to three of eight workers, the sums are right in the file and in a balancer.

    No request fails.
    """
    file, ids = tmp_path / "loads", ["a", "b", "c", "d"]
    lb = sharing(ids, file)
    workers = [Worker(file, ids, 5) for _ in range(8)]
    held = [worker.targets for worker in workers]
    assert in_flight(file, ids) == counts(ids, *held)
    for worker in workers[:3]:
        worker.kill()
    deadline = time.monotonic() + 1.0
    wanted = counts(ids, *held[3:])
    while time.monotonic() < deadline:
        found = known(lb)
        if found == wanted:
            break
        time.sleep(0.02)
    assert found == wanted
    assert in_flight(file, ids) == wanted
    assert [worker.end() for worker in workers[3:]] == [0] * 5
    assert in_flight(file, ids) == counts(ids)


def test_twenty_rolling_recycles(tmp_path):
    """Each of four workers is replaced 20 times. The sums stay right and the file stays."""
    file, ids = tmp_path / "loads", ["a", "b", "c"]
    workers = [Worker(file, ids, 3) for _ in range(4)]
    held = [worker.targets for worker in workers]
    inode = file.stat().st_ino
    for turn in range(20):
        place = turn % 4
        if turn % 3:
            assert workers[place].end() == 0
        else:
            workers[place].kill()
        workers[place] = Worker(file, ids, 3)
        held[place] = workers[place].targets
        assert in_flight(file, ids) == counts(ids, *held)
    assert [worker.end() for worker in workers] == [0] * 4
    assert in_flight(file, ids) == counts(ids)
    assert file.stat().st_ino == inode


def test_two_configurations_at_once(tmp_path):
    """Workers of the old and the new list of endpoints share those in common by id, and no warning is given."""
    file = tmp_path / "loads"
    old, new = ["a", "b", "c"], ["d", "c", "b"]
    workers = [Program(file, ids, 7) for ids in (old, new, old, new)]
    held = [worker.held() for worker in workers]
    assert in_flight(file, list("abcd")) == counts("abcd", *held)
    assert known(sharing(["e", "b"], file)) == {"e": 0, **counts(["b"], *held)}
    for worker in workers:
        assert worker.end() == ""


def test_a_forked_worker_has_a_row_of_its_own(tmp_path):
    """A child counts beside its parent, and does not write into the parent's row."""
    file, ids = tmp_path / "loads", ["a", "b"]
    lb = sharing(ids, file)
    mine = [lb.acquire() for _ in range(4)]
    before = counts(ids, [lease.target for lease in mine])

    def child():
        lease = lb.acquire()
        own = known(lb)
        both = in_flight(file, ids)
        mine[0].release()  # of the parent: it is none of the child's
        after = in_flight(file, ids)
        lease.release()
        return json.dumps([own, both, lease.target, after])

    own, both, target, after = json.loads(in_child(child))
    assert own == before
    assert both == after == {**before, target: before[target] + 1}
    assert in_flight(file, ids) == before
    for lease in mine:
        lease.release()
    assert in_flight(file, ids) == {"a": 0, "b": 0}


def test_threads_leave_exact_counts(tmp_path):
    """After eight threads have made 500 requests each, the row says what is open: nothing."""
    file, ids = tmp_path / "loads", ["a", "b", "c"]
    lb = sharing(ids, file)
    reader = sharing(ids, file)

    def requests():
        for _ in range(500):
            with lb.acquire():
                pass

    threads = [threading.Thread(target=requests) for _ in range(8)]
    for thread in threads:
        thread.start()
    for _ in range(50):
        assert set(known(reader).values()) <= set(range(9))  # one lease a thread
    for thread in threads:
        thread.join()
    assert in_flight(file, ids) == {"a": 0, "b": 0, "c": 0}
