"""Both runners against real sources: what the balancer's list becomes, and that no good list is ever lost."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from tests.discovery._dns_server import EMPTY, NXDOMAIN, SERVFAIL, dns_server

from balancekit import ConfigurationError, Endpoint, LoadBalancer, PoolEmptyError
from balancekit.discovery import (
    AsyncDiscovery,
    DnsResolver,
    FileSdResolver,
    Refresh,
    Resolution,
    SrvResolver,
    State,
    ThreadDiscovery,
)
from balancekit.events import Drained, Removed
from balancekit.sim import Recorder

QUICK = Refresh(
    interval=0.03,
    min_interval=0.03,
    first_retry=0.02,
    max_retry=0.05,
    hold=0.4,
    quiet=0.05,
    max_quiet=0.3,
)
MAX_WAIT_S = 5.0


class InThread:
    """The asyncio runner in a thread with a loop of its own, so that tests can treat both alike."""

    def __init__(self, balancer, source, **options):
        self._begin = lambda: AsyncDiscovery(balancer, source, **options)
        self.runner = None

    def _do(self, coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(MAX_WAIT_S)

    def __enter__(self):
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self.thread.start()
        self.runner = self._begin()
        self._do(self.runner.start())
        return self

    def __exit__(self, *_):
        self._do(self.runner.stop())
        self.left = self._do(self._tasks())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join()
        self.loop.close()
        assert self.left == 1

    async def _tasks(self):
        return len(asyncio.all_tasks())

    def wait_ready(self, timeout=None):
        return self._do(self.runner.wait_ready(timeout))

    def refresh(self):
        self._do(self.runner.refresh())

    def stats(self):
        return self.runner.stats()


RUNNERS = pytest.mark.parametrize("runner", [ThreadDiscovery, InThread], ids=["threads", "asyncio"])


def empty_balancer():
    """Return a balancer that waits for discovery."""
    return LoadBalancer([], allow_empty=True)


def ids(balancer):
    """Return who is in the pool."""
    return {endpoint.id for endpoint in balancer.endpoints}


def wait_for(condition):
    """Wait until something is so."""
    deadline = time.monotonic() + MAX_WAIT_S
    while not condition():
        assert time.monotonic() < deadline, "it never came to that"
        time.sleep(0.005)


class Said:
    """A resolver that says what it is told to, and counts."""

    def __init__(self, *names):
        self.names = names
        self.asked = 0

    def resolve(self):
        self.asked += 1
        if isinstance(self.names, Exception):
            raise self.names
        return Resolution(endpoints=[Endpoint(name) for name in self.names])

    def settle(self, times=3):
        """Wait until it has been asked some more."""
        before = self.asked
        wait_for(lambda: self.asked >= before + times)


@RUNNERS
def test_the_list_follows_the_source(runner):
    """The balancer gets the endpoints of the source, and those that stay keep their state."""
    said, balancer = Said("a", "b"), empty_balancer()
    with pytest.raises(PoolEmptyError):
        balancer.acquire()
    with runner(balancer, said, refresh=QUICK) as discovery:
        assert discovery.wait_ready(MAX_WAIT_S)
        balancer.acquire(exclude={"b"}).release()
        said.names = ("a", "c")
        wait_for(lambda: ids(balancer) == {"a", "c"})
        assert balancer.stats()["a"].completed == 1
        assert discovery.stats().state is State.BOUND
    said.names = ("z",)
    time.sleep(0.1)
    assert ids(balancer) == {"a", "c"}


@RUNNERS
def test_what_is_removed_gets_nothing_new_and_its_leases_end_in_peace(runner):
    """A removed endpoint gets no new request, and is drained when its last lease has ended."""
    events = []
    balancer = LoadBalancer([], allow_empty=True, listeners=[events.append])
    said = Said("a", "b")
    with runner(balancer, said, refresh=QUICK) as discovery:
        discovery.wait_ready(MAX_WAIT_S)
        lease = balancer.acquire(exclude={"b"})
        said.names = ("b",)
        wait_for(lambda: ids(balancer) == {"b"})
        for _ in range(20):
            assert balancer.acquire().release()
        assert balancer.stats()["a"].inflight == 1
        assert not any(isinstance(event, Drained) for event in events)
        assert lease.release()
        wait_for(lambda: [e.endpoint for e in events if isinstance(e, Drained)] == ["a"])
    assert [e.endpoint for e in events if isinstance(e, Removed)] == ["a"]


@RUNNERS
@pytest.mark.parametrize(
    "trouble", [OSError("no route"), ValueError(), "an answer that is none"], ids=lambda t: type(t).__name__
)
def test_failures_keep_the_list_and_are_logged_once(runner, trouble, caplog):
    """Failures keep the list. One warning is logged as they begin and one line when they are over."""
    caplog.set_level(logging.INFO, "balancekit")
    said, balancer, changes = Said("a", "b"), empty_balancer(), []
    with runner(balancer, said, name="orders", refresh=QUICK, listeners=[changes.append]) as discovery:
        discovery.wait_ready(MAX_WAIT_S)
        good = said.resolve
        if isinstance(trouble, Exception):
            said.names = trouble
        else:
            said.resolve = lambda: trouble
        wait_for(lambda: discovery.stats().refreshes["failed"] >= 4)
        assert ids(balancer) == {"a", "b"}
        assert discovery.stats().error
        said.resolve, said.names = good, ("a", "b", "c")
        wait_for(lambda: len(balancer.endpoints) == 3)
        wait_for(lambda: discovery.stats().error is None)
    assert [(change.before, change.after) for change in changes] == [
        (State.PENDING, State.BOUND),
        (State.BOUND, State.FAILED),
        (State.FAILED, State.BOUND),
    ]
    assert [r.levelname for r in caplog.records if "orders" in r.getMessage()] == ["INFO", "WARNING", "INFO"]


@RUNNERS
def test_a_list_that_the_balancer_refuses_is_a_failure(runner):
    """A list that the balancer refuses is a failure, and the last good one stays."""
    balancer = LoadBalancer(["a"])
    with runner(balancer, nothing, refresh=QUICK.replace(on_empty="apply")) as discovery:
        wait_for(lambda: discovery.stats().state is State.FAILED)
        assert ids(balancer) == {"a"}
        assert "at least one endpoint" in discovery.stats().error


@RUNNERS
def test_an_empty_answer_is_held_first(runner):
    """An empty answer is applied only after it has been confirmed for the hold time."""
    said, balancer = Said("a", "b"), empty_balancer()
    with runner(balancer, said, refresh=QUICK) as discovery:
        discovery.wait_ready(MAX_WAIT_S)
        said.names = ()
        began = time.monotonic()
        said.settle()
        assert discovery.stats().state is State.HOLDING
        wait_for(lambda: not balancer.endpoints)
        assert time.monotonic() - began >= 0.4 - 0.03


@RUNNERS
def test_a_listener_that_raises_changes_nothing(runner):
    """The exception is logged, and the change is made."""

    def awkward(_):
        raise RuntimeError

    said, balancer = Said("a"), empty_balancer()
    with runner(balancer, said, refresh=QUICK, listeners=[awkward]) as discovery:
        assert discovery.wait_ready(MAX_WAIT_S)
        said.settle()


class Pushed(Said):
    """A resolver that tells by itself."""

    def watch(self, push):
        self.push = push
        return lambda: setattr(self, "push", None)


@RUNNERS
def test_a_source_that_pushes_is_heard_and_debounced(runner):
    """A burst of pushes from another thread is one change, and no push counts after the end."""
    said, balancer = Pushed("a"), empty_balancer()
    calm = QUICK.replace(interval=60.0)
    with runner(balancer, said, refresh=calm) as discovery:
        discovery.wait_ready(MAX_WAIT_S)
        for count in range(2, 9):
            said.push(["a", *map(str, range(count))])
        wait_for(lambda: len(balancer.endpoints) == 9)
        assert discovery.stats().refreshes["changed"] == 2
        assert said.asked == 1
        said.names = ("a", *map(str, range(8)), "asked for")
        discovery.refresh()
        wait_for(lambda: "asked for" in ids(balancer))
    assert said.push is None


@RUNNERS
def test_an_answer_outlives_a_list_that_was_pushed_before_its_question(runner):
    """While a push waits for quiet the source is asked; the newer answer stays in use after the quiet."""
    said, balancer = Pushed("a"), empty_balancer()
    often = QUICK.replace(interval=0.05, min_interval=0.01, quiet=0.2, max_quiet=0.2)
    with runner(balancer, said, refresh=often) as discovery:
        discovery.wait_ready(MAX_WAIT_S)
        said.push(["a", "old"])
        said.names = ("a", "new")
        wait_for(lambda: "new" in ids(balancer))
        asked = said.asked
        wait_for(lambda: said.asked > asked + 8)
        assert discovery.stats().refreshes["changed"] == 2


# ---------------------------------------------------------------------- real sources


class FailingWatch(Said):
    """A resolver whose watch cannot be begun a few times, and cannot be ended."""

    def __init__(self, *names, fails):
        super().__init__(*names)
        self.begun, self.fails = 0, fails

    def watch(self, push):
        self.begun += 1
        if self.begun <= self.fails:
            raise ConnectionError("nothing listens")
        push(Resolution(endpoints=[Endpoint("pushed:80")]))
        return self.end

    def end(self):
        raise ConnectionError("it has gone")


@RUNNERS
def test_a_watch_that_cannot_be_begun_is_tried_again(runner, caplog):
    """The source is asked on schedule meanwhile; the trouble is logged once, and the first push is used once there is one."""
    source, balancer = FailingWatch("a:80", fails=3), empty_balancer()
    with caplog.at_level(logging.INFO, "balancekit"):
        with runner(balancer, source, refresh=QUICK) as discovery:
            assert discovery.wait_ready(MAX_WAIT_S)
            source.names = ("pushed:80",)
            wait_for(lambda: ids(balancer) == {"pushed:80"})
            wait_for(lambda: source.begun == 4)
            source.settle()
        assert source.begun == 4
    assert caplog.text.count("nothing listens") == 1
    assert caplog.text.count("watch of FailingWatch: begun") == 1


def test_a_source_that_waits_for_something_cancelled_has_failed():
    """A coroutine that ends by ``CancelledError`` of its own is a failure, and is called again."""
    asked = []

    async def source():
        asked.append(1)
        if len(asked) < 3:
            future = asyncio.get_running_loop().create_future()
            future.cancel()
            await future
        return ["a:80"]

    with InThread(empty_balancer(), source, refresh=QUICK) as discovery:
        assert discovery.wait_ready(MAX_WAIT_S)
        assert discovery.stats().refreshes["failed"] == 2


def test_a_resolver_that_hangs_is_not_asked_again_meanwhile():
    """While a blocking resolver hangs there is one thread for it, however often its time is over; then it is asked again."""
    asked, free = [], threading.Event()

    def source():
        asked.append(threading.current_thread())
        free.wait(MAX_WAIT_S)
        return ["a:80"]

    quick = Refresh(timeout=0.02, first_retry=0.02, max_retry=0.02, interval=0.03, min_interval=0.03)
    with InThread(empty_balancer(), source, refresh=quick) as discovery:
        wait_for(lambda: discovery.stats().refreshes["failed"] >= 5)
        assert len(asked) == 1
        free.set()
        assert discovery.wait_ready(MAX_WAIT_S)
        wait_for(lambda: len(asked) >= 3)


@pytest.mark.parametrize(
    "kind", [SystemExit, KeyboardInterrupt, GeneratorExit, asyncio.CancelledError, MemoryError]
)
def test_a_resolver_that_raises_what_ends_threads_has_failed(kind):
    """A resolver that raises SystemExit or its like has failed and ends no thread: the runner asks again."""
    answers = iter([kind, kind])

    def source():
        error = next(answers, None)
        if error is not None:
            raise error
        return ["a:80"]

    with ThreadDiscovery(empty_balancer(), source, refresh=QUICK) as discovery:
        assert discovery.wait_ready(MAX_WAIT_S)
        assert discovery.stats().refreshes["failed"] == 2


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_runner_whose_thread_has_ended_is_not_running_and_can_be_started_again(monkeypatch):
    """A runner is not running once its thread has ended, whatever ended it, and can be started again."""
    discovery = ThreadDiscovery(empty_balancer(), lambda: ["a:80"], refresh=QUICK)
    with monkeypatch.context() as patched:
        patched.setattr(discovery, "_step", next)  # which raises
        discovery.start()
        wait_for(lambda: not discovery.running)
        assert not discovery.wait_ready(0.0)
    with discovery:
        assert discovery.wait_ready(MAX_WAIT_S)


def test_a_resolver_that_raises_stop_iteration_has_failed():
    """``StopIteration``, which no coroutine can raise, is a failure in a thread, too."""
    with InThread(empty_balancer(), lambda: next(iter(())), refresh=QUICK) as discovery:
        wait_for(lambda: discovery.stats().refreshes["failed"] >= 2)


@RUNNERS
def test_dns_through_everything_that_goes_wrong(runner):
    """SERVFAIL, NXDOMAIN and an empty answer for a while: no good list is lost; then true changes are followed."""
    with dns_server() as (zone, place):
        zone.a("orders.example", "10.0.0.1", "10.0.0.2", ttl=0)
        zone.negative_ttl = 0
        balancer = empty_balancer()
        source = DnsResolver("orders.example", 80, nameservers=[place], timeout=0.5)
        with runner(balancer, source, refresh=QUICK) as discovery:
            assert discovery.wait_ready(MAX_WAIT_S)
            for how in (SERVFAIL, NXDOMAIN, EMPTY):
                kept = dict(zone.says)
                zone.fail(how, "orders.example")
                asked = len(zone.asked)
                wait_for(lambda asked=asked: len(zone.asked) >= asked + 4)
                assert ids(balancer) == {"10.0.0.1:80", "10.0.0.2:80"}
                zone.says.update(kept)
                wait_for(lambda: discovery.stats().state is State.BOUND)
            zone.a("orders.example", "10.0.0.2", "10.0.0.3", ttl=0)
            wait_for(lambda: ids(balancer) == {"10.0.0.2:80", "10.0.0.3:80"})
            zone.fail(NXDOMAIN, "orders.example")
            wait_for(lambda: not balancer.endpoints)


def test_the_ttl_of_the_records_says_how_often_dns_is_asked():
    """DNS is asked as often as the TTL says.

    A TTL of one second and one of sixty lead to different numbers of questions.
    """
    with dns_server() as (zone, place):
        zone.srv("_http._tcp.orders.example", (0, 1, 80, "a.example"), ttl=1)
        balancer = empty_balancer()
        source = SrvResolver("_http._tcp.orders.example", nameservers=[place], timeout=0.5)
        refresh = Refresh(interval=0.01, min_interval=0.01, jitter=0.0)
        with ThreadDiscovery(balancer, source, refresh=refresh) as discovery:
            discovery.wait_ready(MAX_WAIT_S)
            began = time.monotonic()
            zone.srv("_http._tcp.orders.example", (0, 1, 80, "a.example"), (0, 1, 80, "b.example"), ttl=60)
            wait_for(lambda: len(balancer.endpoints) == 2)
            assert time.monotonic() - began >= 0.9
            time.sleep(1.2)
            assert len(zone.asked) == 2


@RUNNERS
def test_a_file_that_is_rewritten_in_place_never_costs_the_list(runner, tmp_path):
    """A writer that truncates and writes in pieces, over and over: no endpoint is ever missing."""
    path = tmp_path / "targets.json"
    whole = json.dumps([{"targets": [f"10.0.0.{n}:80" for n in range(50)], "labels": {"a": "b"}}])
    path.write_text(whole)
    balancer = empty_balancer()
    fast = QUICK.replace(interval=0.002, first_retry=0.002, max_retry=0.002, hold=0.0, shrink=1.0)
    missing = []
    with runner(balancer, FileSdResolver(path), refresh=fast) as discovery:
        discovery.wait_ready(MAX_WAIT_S)
        balancer.on_event(lambda event: missing.append(event) if isinstance(event, Removed) else None)
        for length in range(0, len(whole), 10):
            path.write_text(whole[:length])
            time.sleep(0.003)
            path.write_text(whole)
        failed = discovery.stats().refreshes["failed"]
        assert failed > 5, "the reader never met the writer"
        assert missing == []
        path.write_text(json.dumps([{"targets": ["10.0.0.1:80"]}]))
        wait_for(lambda: ids(balancer) == {"10.0.0.1:80"})


@RUNNERS
def test_a_symbolic_link_that_is_swapped_is_followed(runner, tmp_path):
    """A symbolic link that is swapped is followed, as for a ConfigMap of Kubernetes."""

    def publish(name, *targets):
        (tmp_path / name).mkdir()
        (tmp_path / name / "targets.json").write_text(json.dumps([{"targets": list(targets)}]))
        (tmp_path / "..tmp").symlink_to(name)
        (tmp_path / "..tmp").replace(tmp_path / "..data")

    publish("..1", "a:80", "b:80")
    (tmp_path / "targets.json").symlink_to("..data/targets.json")
    balancer = empty_balancer()
    with runner(balancer, f"file:{tmp_path / 'targets.json'}?interval=0.01") as discovery:
        assert discovery.wait_ready(MAX_WAIT_S)
        publish("..2", "b:80", "c:80")
        wait_for(lambda: ids(balancer) == {"b:80", "c:80"})
        (tmp_path / "..data").unlink()  # a swap that is not atomic
        wait_for(lambda: discovery.stats().state is State.FAILED)
        assert ids(balancer) == {"b:80", "c:80"}
        publish("..3", "c:80", "d:80")
        wait_for(lambda: ids(balancer) == {"c:80", "d:80"})


# ---------------------------------------------------------------------- starting and stopping


def test_starting_and_stopping_twice_does_nothing():
    """A second start or stop does nothing, and a runner that is started again goes on counting."""
    said = Said("a")
    discovery = ThreadDiscovery(empty_balancer(), said, refresh=QUICK)
    threads = threading.active_count()
    for _ in range(2):
        discovery.start()
        discovery.start()
        assert discovery.running
        assert discovery.wait_ready(MAX_WAIT_S)
        discovery.stop()
        discovery.stop()
        assert not discovery.running
        assert not discovery.wait_ready(0.0)
    assert threading.active_count() == threads
    assert sum(discovery.stats().refreshes.values()) >= 2


@pytest.mark.parametrize("timeout", [0.1, 3600.0])
def test_stopping_does_not_wait_for_a_resolver_that_hangs(timeout):
    """``stop`` returns while the resolver hangs, whatever its timeout; what it says afterwards is not used."""
    release, asked = threading.Event(), threading.Event()

    def hang():
        asked.set()
        release.wait()
        return ["late"]

    balancer = empty_balancer()
    discovery = ThreadDiscovery(balancer, hang, refresh=QUICK.replace(timeout=timeout))
    discovery.start()
    assert asked.wait(MAX_WAIT_S)
    assert not discovery.wait_ready(0.05)
    thread = discovery._thread
    stop = threading.Thread(target=discovery.stop, daemon=True)
    stop.start()
    stop.join(MAX_WAIT_S)
    waits = stop.is_alive()
    release.set()
    assert not waits
    thread.join(MAX_WAIT_S)
    assert not thread.is_alive()
    assert not balancer.endpoints


def test_a_second_runner_of_one_balancer_is_refused():
    """Two runners would undo what the other does: the second one cannot start before the first has stopped, and changes nothing."""
    balancer = empty_balancer()
    first, second = (ThreadDiscovery(balancer, Said(id), refresh=QUICK, name=id) for id in "ab")

    async def main():
        another = AsyncDiscovery(balancer, Said("c"), refresh=QUICK, name="c")
        with pytest.raises(ConfigurationError, match="no other runner keeps; stop <ThreadDiscovery of 'a'"):
            await another.start()
        assert not another.running
        first.stop()
        async with another:
            assert await another.wait_ready(MAX_WAIT_S)
            with pytest.raises(ConfigurationError, match="'c'"):
                first.start()
            await another.start()
        await another.start()  # its loop ends over it

    with first:
        assert first.wait_ready(MAX_WAIT_S)
        first.start()
        with pytest.raises(ConfigurationError) as caught:
            second.start()
        assert caught.value.parameter == "balancer"
        assert not second.running
        assert ids(balancer) == {"a"}
        asyncio.run(main())
    with second:
        assert second.wait_ready(MAX_WAIT_S)


def test_a_second_runner_of_a_balancer_in_a_recorder_is_refused(tmp_path):
    """A recorder, and a recorder of a recorder, has the endpoints of the balancer in it."""
    balancer = empty_balancer()
    with Recorder(balancer, tmp_path / "a") as recorder, Recorder(recorder, tmp_path / "b") as around:
        with ThreadDiscovery(recorder, Said("a"), refresh=QUICK) as first:
            assert first.wait_ready(MAX_WAIT_S)
            for other in (balancer, around):
                with pytest.raises(ConfigurationError, match="no other runner keeps"):
                    ThreadDiscovery(other, Said("b"), refresh=QUICK).start()
        with ThreadDiscovery(around, Said("b"), refresh=QUICK) as second:
            assert second.wait_ready(MAX_WAIT_S)


def test_of_runners_that_start_at_a_time_one_is_refused():
    """However many threads start a runner each, one of them keeps the endpoints of the balancer."""
    balancer, ready = empty_balancer(), threading.Barrier(4)
    runners = [ThreadDiscovery(balancer, Said(id), refresh=QUICK) for id in "abcd"]

    def start(runner):
        ready.wait(MAX_WAIT_S)
        try:
            runner.start()
        except ConfigurationError:
            return False
        return True

    with ThreadPoolExecutor(4) as executor:
        for _ in range(20):
            assert sum(executor.map(start, runners)) == 1
            for runner in runners:
                runner.stop()


def test_a_coroutine_is_cancelled_when_its_time_is_over():
    """A coroutine is cancelled when its timeout is over. This is a failure like any other, and the list stays."""

    async def main():
        cancelled = asyncio.Event()

        async def hang():
            if not answers:
                try:
                    await asyncio.sleep(MAX_WAIT_S)
                finally:
                    cancelled.set()
            return [answers.pop()]

        answers = ["a"]
        balancer = empty_balancer()
        async with AsyncDiscovery(balancer, hang, refresh=QUICK.replace(timeout=0.05)) as discovery:
            assert await discovery.wait_ready(MAX_WAIT_S)
            await asyncio.wait_for(cancelled.wait(), MAX_WAIT_S)
            assert ids(balancer) == {"a"}
        assert not await discovery.wait_ready(0.0)

    asyncio.run(main())


def test_a_coroutine_that_forgets_a_cancellation_does_not_keep_the_runner():
    """``stop`` returns although the coroutine of the source forgets that it is cancelled, and answers."""
    asking = asyncio.Event()

    async def forget():
        if not asking.is_set():
            asking.set()
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(60.0)
        return ["a"]

    async def main():
        patient = QUICK.replace(timeout=60.0)
        async with asyncio.timeout(MAX_WAIT_S), AsyncDiscovery(empty_balancer(), forget, refresh=patient):
            await asking.wait()

    asyncio.run(main())


def test_an_event_loop_that_ends_does_not_wait_for_a_resolver_that_blocks():
    """Neither a loop that ends nor the interpreter waits for a resolver that blocks, and nothing is printed."""
    code = """
        import asyncio, threading, time
        from balancekit import LoadBalancer
        from balancekit.discovery import AsyncDiscovery, ThreadDiscovery
        def hang():
            time.sleep(30)
        async def main():
            discovery = AsyncDiscovery(LoadBalancer([], allow_empty=True), hang)
            await discovery.start()
            await asyncio.sleep(0.1)
        asyncio.run(main())
        ThreadDiscovery(LoadBalancer([], allow_empty=True), hang).start()
    """
    process = subprocess.run(
        [sys.executable, "-X", "dev", "-c", textwrap.dedent(code)],
        capture_output=True,
        text=True,
        timeout=10,
        check=False,
    )
    assert (process.returncode, process.stderr) == (0, "")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_child_follows_the_source_by_itself():
    """A forked child follows the source by itself. A runner that was stopped stays so."""
    said, balancer = Said("a"), empty_balancer()
    stopped = ThreadDiscovery(empty_balancer(), said, refresh=QUICK)
    with ThreadDiscovery(balancer, said, refresh=QUICK) as discovery:
        assert discovery.wait_ready(MAX_WAIT_S)
        child = os.fork()
        if child == 0:
            status = 1
            with contextlib.suppress(BaseException):
                assert discovery.running
                assert not stopped.running
                said.names = ("a", "b")
                wait_for(lambda: len(balancer.endpoints) == 2)
                discovery.stop()
                assert threading.active_count() == 1
                status = 0
            os._exit(status)
        deadline = time.monotonic() + 2 * MAX_WAIT_S
        while (ended := os.waitpid(child, os.WNOHANG)) == (0, 0):
            if time.monotonic() > deadline:
                os.kill(child, signal.SIGKILL)
            time.sleep(0.01)
        assert os.waitstatus_to_exitcode(ended[1]) == 0
        said.settle()
        assert ids(balancer) == {"a"}


def nothing():
    """Know of no endpoint."""
    return []


async def later():
    """Stand for a coroutine function."""
    return []


@pytest.mark.parametrize(
    ("make", "parameter"),
    [
        (lambda: ThreadDiscovery("a", nothing), "balancer"),
        (lambda: ThreadDiscovery(empty_balancer(), 7), "source"),
        (lambda: ThreadDiscovery(empty_balancer(), later), "source"),
        (lambda: ThreadDiscovery(empty_balancer(), nothing, refresh=30), "refresh"),
        (lambda: ThreadDiscovery(empty_balancer(), nothing, name=""), "name"),
        (lambda: ThreadDiscovery(empty_balancer(), nothing, listeners=[7]), "listeners"),
        (lambda: AsyncDiscovery("a", nothing), "balancer"),
        (lambda: AsyncDiscovery(empty_balancer(), later, listeners=[7]), "listeners"),
    ],
)
def test_wrong_arguments_are_refused(make, parameter):
    """Each wrong argument is refused by the name of its parameter."""
    with pytest.raises(ConfigurationError, match=parameter):
        make()


CHILDREN_THAT_LOCK = """
import os, signal, threading, time
from balancekit import LoadBalancer
from balancekit.discovery import Refresh, ThreadDiscovery

lock = threading.Lock()  # renewed as logging renews its own

def renew():
    time.sleep(0.1)  # a thread that was started before waits now
    lock._at_fork_reinit()

os.register_at_fork(before=lock.acquire, after_in_child=renew, after_in_parent=lock.release)
seen = []

def resolve():
    with lock:
        seen.append(1)
    return ["a:80"]

statuses = set()
with ThreadDiscovery(LoadBalancer(["a:80"]), resolve, refresh=Refresh(interval=0.01)) as discovery:
    for generation in range(3):
        child = os.fork()
        if not child:
            signal.alarm(20)
            known = len(seen)
            while len(seen) < known + 3:
                time.sleep(0.001)
            discovery.stop()
            os._exit(0)
        statuses.add(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
print(statuses)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_thread_of_a_child_starts_when_all_locks_are_renewed():
    """In a forked child the thread starts after the modules that were imported later than the library have renewed their locks."""
    # Since 3.12, Python warns of a fork beside threads.
    command = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", CHILDREN_THAT_LOCK]
    run = subprocess.run(command, check=False, capture_output=True, text=True, timeout=300)
    assert (run.stdout, run.stderr) == ("{0}\n", "")
