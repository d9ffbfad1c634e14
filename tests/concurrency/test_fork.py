"""A forked child has its own luck, its own locks and nothing in flight."""

from __future__ import annotations

import os
import threading
from random import Random

import pytest

from balancekit import LoadBalancer, Outcome, RoundRobin, UniformRandom

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")


def in_child(function):
    """Run a function in a forked child; return what it returned, as text."""
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            answer = str(function()).encode()
        except BaseException as error:
            answer = f"{type(error).__name__}: {error}".encode()
        os.write(write, answer)
        os._exit(0)
    os.close(write)
    with os.fdopen(read, "rb") as file:
        answer = file.read().decode()
    os.waitpid(pid, 0)
    return answer


def picks(balancer, count=40):
    """Return what a balancer picks."""
    found = []
    for _ in range(count):
        with balancer.acquire() as lease:
            found.append(lease.target)
    return "".join(found)


def test_children_draw_differently():
    """A default generator is seeded again in each child."""
    balancer = LoadBalancer("abcd"[:0] or list("abcd"), selector=UniformRandom())
    answers = {in_child(lambda: picks(balancer)) for _ in range(3)} | {picks(balancer)}
    assert len(answers) == 4


def test_a_generator_of_the_user_is_left_alone():
    """Who passes a generator decides about its state."""
    balancer = LoadBalancer(list("abcd"), selector=UniformRandom(), rng=Random(5))
    assert in_child(lambda: picks(balancer)) == in_child(lambda: picks(balancer)) == picks(balancer)


def test_a_child_has_nothing_in_flight():
    """Leases of the parent's threads would never end in the child."""
    balancer = LoadBalancer(["a", "b"], selector=RoundRobin())
    lease = balancer.acquire()

    def child():
        before = balancer.stats().inflight
        ended = lease.release()
        return before, ended, balancer.stats().inflight, len(picks(balancer))

    assert in_child(child) == "(0, True, 0, 40)"
    assert balancer.stats().inflight == 1
    lease.release()


@pytest.mark.parametrize("name", ["writer", "serial", "listeners"])
def test_a_lock_held_by_another_thread_does_not_hang_the_child(name):
    """A lock of the engine that another thread holds at the moment of the fork is free in the child."""
    balancer = LoadBalancer(["a", "b"])
    inside, go_on = threading.Event(), threading.Event()

    def hold():
        with getattr(balancer._runtime.locks, name):
            inside.set()
            go_on.wait(10)

    def child():
        balancer.on_event(lambda event: None)
        balancer.add("c")
        for _ in range(9):
            balancer.acquire(exclude={"c"}).release(Outcome.FAILURE)
        return len(balancer.endpoints)

    thread = threading.Thread(target=hold)
    thread.start()
    inside.wait(10)
    try:
        assert in_child(child) == "3"
    finally:
        go_on.set()
        thread.join()
