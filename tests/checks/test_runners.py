"""Both runners against real servers: what they see, how soon, and that nothing is left of them."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time

import pytest
from tests.checks._servers import CERTIFICATE, dead_target, servers, silence

from balancekit import ConfigurationError, LoadBalancer
from balancekit.checks import (
    AsyncChecks,
    DeepCheck,
    HttpCheck,
    Peer,
    ProbeResult,
    Schedule,
    TcpCheck,
    ThreadChecks,
    check_once,
)
from balancekit.events import Degraded, Ejected
from balancekit.health import Health, Lifecycle, MaxFails, Thresholds

AT_ONCE = Schedule(interval=60.0, timeout=50.0, jitter=0.0)
"""Every endpoint is checked when the runner starts; with jitter the first check is somewhere in the first six seconds."""
QUICK = Schedule(interval=0.1, timeout=0.08, jitter=0.1, fast=0.05)
SLOWER = Schedule(interval=0.5, timeout=0.4, fast=0.1)
POLICY = Lifecycle(thresholds=Thresholds(rise=2, fall=2))
MAX_WAIT_S = 30.0
"""For what hangs: a test waits for conditions. Less than a check of ``AT_ONCE`` may take."""


def balancer_of(*targets, health=POLICY, **options):
    """Return a balancer whose endpoints are called a, b, c."""
    return LoadBalancer(dict(zip("abcdef", targets, strict=False)), health=health, **options)


def wait_for(condition):
    """Wait until something is so."""
    deadline = time.monotonic() + MAX_WAIT_S
    while not condition():
        assert time.monotonic() < deadline, "it never came to that"
        time.sleep(0.005)


def states(balancer):
    """Return the states of all endpoints, in order."""
    return [endpoint.state for endpoint in balancer.stats().endpoints]


def pick(balancer):
    """Return who gets a request."""
    with balancer.acquire() as lease:
        return lease.target


class InThread:
    """Runs the asyncio runner in a thread with a loop of its own, so that tests can treat both alike."""

    def __init__(self, balancer, check, **options):
        self.runner = AsyncChecks(balancer, check, **options)

    def __enter__(self):
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever)
        self.thread.start()
        self.call(self.runner.start())
        return self.runner

    def call(self, coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(MAX_WAIT_S)

    def __exit__(self, *_error):
        self.call(self.runner.stop())
        assert not self.call(self.others())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join()
        self.loop.close()

    async def others(self):
        return asyncio.all_tasks() - {asyncio.current_task()}


RUNNERS = pytest.mark.parametrize("runner", [ThreadChecks, InThread], ids=["threads", "asyncio"])


@RUNNERS
@pytest.mark.parametrize("check", [TcpCheck(), HttpCheck(path="/health", body="well")], ids=["tcp", "http"])
def test_the_dead_go_and_come_back(runner, check):
    """A server that is not there is ejected, one that is stays; when it is there it is taken back."""
    with servers(1) as (alive,):
        gone = dead_target()
        balancer = balancer_of(alive.target, gone)
        with runner(balancer, check, schedule=QUICK):
            wait_for(lambda: states(balancer) == ["healthy", "ejected"])
            assert {pick(balancer) for _ in range(9)} == {alive.target}
            balancer.update({"a": alive.target, "b": alive.target}, keep_history=True)
            wait_for(lambda: states(balancer) == ["healthy", "healthy"])


@RUNNERS
def test_the_hanging_are_seen_in_time(runner):
    """A server that accepts and says nothing is down within interval * fall + timeout of asking it.

    The bound leaves out what a busy machine needs to get round to a check: five more intervals, of half a second.
    """
    with servers(1) as (alive,), silence() as hanging:
        balancer, seen = balancer_of(alive.target, hanging), []
        balancer.on_event(lambda event: seen.append(time.monotonic()) if isinstance(event, Ejected) else None)
        began = time.monotonic()
        with runner(balancer, HttpCheck(), schedule=SLOWER):
            wait_for(lambda: seen)
        detection = POLICY.thresholds.detection(interval=SLOWER.interval, timeout=SLOWER.timeout)
        assert seen[0] - began >= SLOWER.timeout * POLICY.thresholds.fall
        assert seen[0] - began <= detection.latest + 5 * SLOWER.interval


@RUNNERS
def test_a_status_and_a_body_are_looked_at(runner):
    """A check fails on a 503, and on a page without the text that it requires."""
    with servers(3) as (good, refusing, wrong):
        refusing.status = 503
        wrong.body = b"something else"
        good.chunked = True
        balancer = balancer_of(good.target, refusing.target, f"http://{wrong.target}")
        with runner(balancer, HttpCheck(body="well"), schedule=QUICK):
            wait_for(lambda: states(balancer) == ["healthy", "ejected", "ejected"])
            refusing.status = 200
            wait_for(lambda: states(balancer) == ["healthy", "healthy", "ejected"])


@RUNNERS
def test_tls_is_spoken_and_verified(runner):
    """A TLS check passes only with a certificate that is trusted and names the host."""
    trusting = ssl.create_default_context(cafile=CERTIFICATE)
    with servers(2) as (named, plain):
        named.secure()
        port = named.server_address[1]
        balancer = balancer_of(
            f"https://localhost:{port}", f"https://127.0.0.2:{port}", f"https://{plain.target}"
        )
        with runner(balancer, HttpCheck(tls=trusting, body="well"), schedule=SLOWER):
            wait_for(lambda: states(balancer) == ["healthy", "ejected", "ejected"])
            wait_for(lambda: named.asked >= 2)
        with runner(balancer, HttpCheck(), schedule=SLOWER):
            wait_for(lambda: balancer.stats().endpoints[0].state in {"ejected", "suspect"})


@RUNNERS
def test_a_connection_that_is_cut_is_a_failure(runner):
    """A connection whose data ends too early is a failed check."""
    with servers(1) as (alive,):
        balancer = balancer_of("127.0.0.1:1", alive.target)
        with runner(balancer, HttpCheck(), schedule=QUICK):
            wait_for(lambda: states(balancer) == ["ejected", "healthy"])


class Wrapper:
    """A balancer that passes everything on, but for what it is given."""

    def __init__(self, balancer, **own):
        self._balancer, self._own = balancer, own

    def __getattr__(self, name):
        return self._own[name] if name in self._own else getattr(self._balancer, name)


@RUNNERS
def test_a_report_that_fails_ends_nothing(runner, caplog):
    """A report that raises is logged, and the next check comes."""

    def full(*_arguments):
        raise OSError("no space left")

    with servers(1) as (alive,):
        balancer = Wrapper(balancer_of(alive.target), report_check=full)
        with runner(balancer, HttpCheck(), schedule=QUICK):
            wait_for(lambda: alive.asked >= 3)
    assert "no space left" in caplog.text


@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt, GeneratorExit, asyncio.CancelledError])
@pytest.mark.parametrize("where", ["check", "report"])
def test_what_ends_threads_does_not_end_checks_of_a_thread(where, kind):
    """A check or a health policy that raises SystemExit, or its like, is called again."""
    calls = []

    def raises(*_arguments):
        calls.append(1)
        raise kind

    balancer = balancer_of("a:1")
    check = raises
    if where == "report":
        balancer, check = Wrapper(balancer, report_check=raises), lambda *_arguments: True
    with ThreadChecks(balancer, check, schedule=QUICK):
        wait_for(lambda: len(calls) >= 3)


@RUNNERS
@pytest.mark.parametrize("health", [None, MaxFails()], ids=["none", "max fails"])
def test_a_balancer_that_takes_no_results_is_refused(runner, health, caplog):
    """A runner is not made for a health policy that takes no check results; one that is found only by a report is logged once."""
    with servers(1) as (alive,):
        balancer = balancer_of(alive.target, health=health)
        assert not balancer.takes_checks
        with pytest.raises(ConfigurationError, match="takes check results") as caught:
            runner(balancer, HttpCheck(), schedule=QUICK)
        assert caught.value.parameter == "balancer"
        with runner(Wrapper(balancer, takes_checks=True), HttpCheck(), schedule=QUICK):
            wait_for(lambda: alive.asked >= 4)
    told = [record for record in caplog.records if "takes check results" in record.getMessage()]
    assert [(record.levelno, record.exc_info) for record in told] == [(logging.WARNING, None)]


def test_an_empty_balancer_may_be_checked():
    """A balancer without endpoints takes check results, unless it has no health."""
    assert LoadBalancer([], allow_empty=True, health=MaxFails()).takes_checks
    assert LoadBalancer([], allow_empty=True).takes_checks
    assert not LoadBalancer([], allow_empty=True, health=None).takes_checks


@RUNNERS
def test_many_endpoints_share_few_workers(runner):
    """More endpoints than may be checked at once are all checked."""
    with servers(1) as (alive,):
        balancer = LoadBalancer(
            {f"e{k}": alive.target for k in range(12)}, health=POLICY.replace(start=Health.UNKNOWN)
        )
        few = {"concurrency": 2}
        with runner(balancer, TcpCheck(), schedule=QUICK, **few):
            wait_for(lambda: set(states(balancer)) == {"healthy"})


@RUNNERS
def test_a_shared_dependency_ejects_none(runner):
    """When most endpoints miss the same database, the pool is degraded.

    An endpoint that misses another one is ejected.
    """
    with servers(4) as running:
        for server in running:
            server.says(db="ok", cache="ok")
        events = []
        balancer = balancer_of(*[server.target for server in running], listeners=[events.append])
        with runner(balancer, DeepCheck(), schedule=QUICK):
            wait_for(lambda: all(server.asked >= 2 for server in running))
            for server in running:
                server.says(db="down", cache="ok")
                server.status = 503
            wait_for(lambda: len({e.endpoint for e in events if isinstance(e, Degraded)}) == 4)
            asked = running[0].asked
            wait_for(lambda: running[0].asked >= asked + 4)
            assert "ejected" not in states(balancer)
            running[3].says(db="down", cache="down")
            wait_for(lambda: states(balancer)[3] == "ejected")
            assert "ejected" not in states(balancer)[:3]
            for server in running:
                server.says(db="ok", cache="ok")
                server.status = 200
            wait_for(lambda: states(balancer) == ["healthy"] * 4)
        ends = {e.endpoint: e.dependencies for e in events if isinstance(e, Degraded)}
        assert ends == dict.fromkeys("abcd", ())


@RUNNERS
def test_unchecked_endpoints_wait_for_their_first_check(runner):
    """With ``start=UNKNOWN`` no endpoint is picked before a check has passed; the error says so."""
    with servers(1) as (alive,):
        balancer = balancer_of(alive.target, dead_target(), health=POLICY.replace(start=Health.UNKNOWN))
        assert states(balancer) == ["unknown", "unknown"]
        with pytest.raises(Exception, match="2 not yet checked; wait for the first checks"):
            balancer.acquire()
        with runner(balancer, TcpCheck(), schedule=QUICK):
            wait_for(lambda: states(balancer) == ["healthy", "ejected"])


@RUNNERS
def test_new_endpoints_are_checked_at_once_and_gone_ones_no_more(runner):
    """The runner follows the pool, though its interval is long."""
    with servers(2) as (first, second):
        balancer = LoadBalancer({"a": first.target})
        slow = Schedule(interval=60.0, jitter=0.0)
        with runner(balancer, HttpCheck(), schedule=slow):
            wait_for(lambda: first.asked == 1)
            balancer.update({"b": second.target})
            wait_for(lambda: second.asked == 1)
        assert first.asked == 1


def failing_check(endpoint, _timeout):
    """Fail in every way there is."""
    if endpoint.id == "b":
        raise ZeroDivisionError
    return {"a": True, "c": False, "d": ProbeResult(passed=False, detail="no")}[endpoint.id]


@pytest.mark.parametrize("kind", ["threads", "asyncio"])
def test_a_users_check_may_fail_as_it_likes(kind):
    """A user's check fails by False, by a result that says so, or by an exception, and the other checks go on."""

    async def coroutine(endpoint, seconds):
        return failing_check(endpoint, seconds)

    balancer = balancer_of(*"1234", health=POLICY)
    runner = ThreadChecks if kind == "threads" else InThread
    with runner(balancer, failing_check if kind == "threads" else coroutine, schedule=QUICK):
        wait_for(lambda: states(balancer) == ["healthy", *["ejected"] * 3])


WRONG_ANSWERS = {
    "None": lambda: None,
    "1": lambda: 1,
    "a word": lambda: "yes",
    "passed": lambda: ProbeResult(passed=None),
    "detail": lambda: ProbeResult(passed=True, detail=5),
    "failing": lambda: ProbeResult(passed=True, failing="db"),
    "no names": lambda: ProbeResult(passed=True, failing=([],)),
    "answered": lambda: ProbeResult(passed=True, answered=1),
}


@pytest.mark.parametrize("kind", ["threads", "asyncio"])
@pytest.mark.parametrize("wrong", WRONG_ANSWERS.values(), ids=list(WRONG_ANSWERS))
def test_an_answer_that_is_no_result_ejects_none_and_is_told_once(kind, wrong, caplog):
    """A check that returns None, 1 or a ProbeResult of wrong values is a mistake of the program: one warning, no report, and the others go on."""
    asked = []

    def check(endpoint, _timeout):
        asked.append(endpoint.id)
        return wrong() if endpoint.id == "b" else endpoint.id == "a"

    async def coroutine(endpoint, seconds):
        return check(endpoint, seconds)

    balancer = balancer_of("1", "2", "3", health=POLICY)
    runner = ThreadChecks if kind == "threads" else InThread
    with runner(balancer, check if kind == "threads" else coroutine, schedule=QUICK, concurrency=1):
        wait_for(lambda: states(balancer)[2] == "ejected")
        wait_for(lambda: min(map(asked.count, "abc")) >= 5)
    assert states(balancer)[:2] == ["healthy", "healthy"]
    told = [record.getMessage() for record in caplog.records if "is not used" in record.getMessage()]
    assert len(told) == 1
    assert "the check of 'b'" in told[0]
    with pytest.raises(ConfigurationError):
        asyncio.run(check_once({"b": "1"}, coroutine))


class Silent:
    """A check of one's own that says nothing, not even at the end of the answer."""

    request = b"GET / HTTP/1.0\r\n\r\n"

    def __init__(self):
        self.ends = []

    def peer(self, endpoint):
        return Peer(*endpoint.target.split(":"))

    def exchange(self, _endpoint):
        return self

    def receive(self, data):
        if not data:
            self.ends.append(data)


@RUNNERS
def test_a_check_of_ones_own_that_never_answers_stops_nothing(runner, caplog):
    """A NetworkCheck whose exchange has no result at the end of the answer is a mistake of the program; no runner spins, and no endpoint is ejected."""
    check = Silent()
    with servers(2) as running:
        balancer = balancer_of(*[server.target for server in running])
        with runner(balancer, check, schedule=QUICK):
            wait_for(lambda: len(check.ends) >= 6)
            asked = sum(server.asked for server in running)
            wait_for(lambda: sum(server.asked for server in running) >= asked + 2)
    assert states(balancer) == ["healthy", "healthy"]
    assert len(check.ends) <= sum(server.asked for server in running)
    assert caplog.text.count("is not used") == 1


async def cancelled_from_within(*_arguments):
    """Wait for something that is cancelled, as a request of a client that is closed."""
    future = asyncio.get_running_loop().create_future()
    future.cancel()
    await future


def test_a_check_that_waits_for_something_cancelled_has_failed():
    """A check that waits for something cancelled has failed.

    The endpoint is checked again, and ``check_once`` returns.
    """
    asked = []

    async def check(endpoint, _timeout):
        asked.append(endpoint.id)
        if endpoint.id == "b":
            await cancelled_from_within()
        return True

    balancer = balancer_of("1", "2")
    with InThread(balancer, check, schedule=QUICK):
        wait_for(lambda: states(balancer) == ["healthy", "ejected"])
        wait_for(lambda: asked.count("b") >= 5)
    found = asyncio.run(check_once(["a"], cancelled_from_within))
    assert [(result.passed, result.detail) for result in found.values()] == [(False, "CancelledError: ")]


def test_a_handshake_that_cannot_begin_leaves_no_connection_open():
    """A TLS context that raises what is no ``OSError`` fails the check; its connection is closed."""
    asked = []

    class Wrong:
        def wrap_socket(self, plain, **_options):
            asked.append(plain)
            raise ValueError("no such name")

    with silence() as address:
        balancer = balancer_of(f"https://{address}", health=POLICY)
        with ThreadChecks(balancer, HttpCheck("/", tls=Wrong()), schedule=QUICK) as runner:
            wait_for(lambda: len(asked) >= 3)
        assert not runner._open
    assert all(connection.fileno() == -1 for connection in asked)


@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="no IPv6 on this system")
@RUNNERS
def test_a_certificate_is_checked_for_an_address_without_its_zone(runner):
    """The zone of an IPv6 address says which interface leads there, and no certificate has one."""
    names = []

    class Noting(ssl.SSLContext):
        def wrap_socket(self, *arguments, server_hostname, **options):
            names.append(server_hostname)
            return super().wrap_socket(*arguments, server_hostname=server_hostname, **options)

        def wrap_bio(self, *arguments, server_hostname, **options):
            names.append(server_hostname)
            return super().wrap_bio(*arguments, server_hostname=server_hostname, **options)

    with socket.create_server(("::1", 0), family=socket.AF_INET6) as listening:
        balancer = balancer_of(f"https://[::1%1]:{listening.getsockname()[1]}", health=POLICY)
        with runner(balancer, HttpCheck(tls=Noting(ssl.PROTOCOL_TLS_CLIENT)), schedule=QUICK):
            wait_for(lambda: names)
    assert set(names) == {"::1"}


def test_a_handshake_has_what_connecting_has_left_of_the_time(monkeypatch):
    """A connection that takes half of the time-out of a check leaves the other half to the handshake."""
    left = []
    connect = socket.socket.connect

    class Watched:
        def wrap_socket(self, plain, **_options):
            left.append(plain.gettimeout())
            raise ValueError("seen")

    def slow(self, address):
        time.sleep(QUICK.timeout / 2.0)
        return connect(self, address)

    with silence() as address:
        monkeypatch.setattr(socket.socket, "connect", slow)
        balancer = balancer_of(f"https://{address}", health=POLICY)
        with ThreadChecks(balancer, HttpCheck("/", tls=Watched()), schedule=QUICK):
            wait_for(lambda: len(left) >= 2)
    assert all(0.0 < seconds <= QUICK.timeout / 2.0 for seconds in left)


def test_a_family_that_the_kernel_lacks_is_followed_by_the_next(monkeypatch):
    """Of the addresses of an endpoint, those for which the system makes no socket are passed over."""
    with servers(1) as (alive,):
        host, port = alive.target.split(":")
        found = [(999, socket.SOCK_STREAM, 6, "", ("::1", int(port), 0, 0))]
        found.append((socket.AF_INET, socket.SOCK_STREAM, 6, "", (host, int(port))))
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
        balancer = balancer_of(alive.target)
        with ThreadChecks(balancer, HttpCheck(), schedule=QUICK):
            wait_for(lambda: alive.asked >= 3)
            assert states(balancer) == ["healthy"]


def test_a_connection_that_is_made_after_stop_is_not_waited_for(monkeypatch):
    """A check that connects while ``stop`` waits for it ends at once, although the endpoint never answers."""
    with silence() as hanging:
        connecting, stopping = threading.Event(), threading.Event()
        connect = socket.socket.connect

        def slow(self, address):
            connecting.set()
            stopping.wait(MAX_WAIT_S)
            return connect(self, address)

        monkeypatch.setattr(socket.socket, "connect", slow)
        checks = ThreadChecks(balancer_of(hanging), HttpCheck(), schedule=AT_ONCE)
        checks.start()
        assert connecting.wait(MAX_WAIT_S)
        stop = threading.Thread(target=checks.stop, daemon=True)
        stop.start()
        wait_for(lambda: not checks.running)
        stopping.set()
        stop.join(MAX_WAIT_S)
        assert not stop.is_alive()


def test_a_users_coroutine_is_cancelled_when_its_time_is_over():
    """A user's coroutine is cancelled when the timeout of the check is over."""

    async def hangs(endpoint, _timeout):
        if endpoint.id == "b":
            await asyncio.sleep(3600)
        return True

    balancer = balancer_of("1", "2")
    with InThread(balancer, hangs, schedule=QUICK):
        wait_for(lambda: states(balancer) == ["healthy", "ejected"])


@RUNNERS
def test_nothing_is_left_of_it(runner):
    """No thread runs before start or after stop, also in the middle of checks that hang. A runner can start again."""
    before = set(threading.enumerate())
    with silence() as hanging:
        balancer = balancer_of(*[hanging] * 3)
        for connections in (3, 6, 9):
            running = runner(balancer, HttpCheck(), schedule=AT_ONCE)
            assert set(threading.enumerate()) == before
            with running as checks:
                assert checks.running
                wait_for(lambda wanted=connections: hanging.connected() == wanted)
                began = time.monotonic()
            assert not checks.running
            assert time.monotonic() - began < MAX_WAIT_S
            assert set(threading.enumerate()) == before
    assert states(balancer) == ["healthy"] * 3  # a check that was cut short says nothing


def test_stop_and_start_are_idempotent():
    """A second start or stop changes nothing."""
    balancer = balancer_of("1", "2")
    checks = ThreadChecks(balancer, lambda endpoint, timeout: True, schedule=QUICK, concurrency=2)
    checks.stop()
    checks.start()
    started = set(threading.enumerate())
    checks.start()
    assert set(threading.enumerate()) == started
    checks.stop()
    checks.stop()

    async def run():
        tasks = AsyncChecks(balancer, TcpCheck(), schedule=QUICK)
        await tasks.stop()
        await tasks.start()
        await tasks.start()
        assert len(asyncio.all_tasks()) == 2
        await tasks.stop()
        await tasks.stop()
        assert len(asyncio.all_tasks()) == 1

    asyncio.run(run())


def test_a_stop_is_never_lost():
    """A stop is never lost, whatever wakes the runner at that moment."""

    async def well(_endpoint, _timeout):
        return True

    async def run():
        balancer = balancer_of("1", "2")
        checks = AsyncChecks(balancer, well, schedule=Schedule(interval=0.001, timeout=0.001, fast=0.001))
        for turn in range(300):
            await checks.start()
            for _ in range(turn % 12):
                await asyncio.sleep(0)
            balancer.update({"a": str(turn), "b": "2"})
            for _ in range(turn % 3):
                await asyncio.sleep(0)
            async with asyncio.timeout(MAX_WAIT_S):
                await checks.stop()
            assert len(asyncio.all_tasks()) == 1

    asyncio.run(run())


def test_a_check_may_stop_its_runner():
    """A worker that stops the runner does not wait for itself."""
    done = threading.Event()
    balancer = balancer_of("1", "2")

    def check(_endpoint, _timeout):
        checks.stop()
        done.set()
        return True

    checks = ThreadChecks(balancer, check, schedule=QUICK)
    checks.start()
    assert done.wait(MAX_WAIT_S)
    wait_for(lambda: not [t for t in threading.enumerate() if t.name.startswith("balancekit-check")])


def test_a_loop_that_ends_first_destroys_nothing(capsys):
    """``asyncio.run`` cancels the tasks of a runner that was never stopped; nothing is said about it."""

    async def run(hanging):
        checks = AsyncChecks(balancer_of(hanging, hanging), HttpCheck(), schedule=AT_ONCE)
        await checks.start()
        await asyncio.to_thread(wait_for, lambda: hanging.connected() == 2)

    with silence() as hanging:
        asyncio.run(run(hanging))
    gc.collect()
    assert capsys.readouterr().err == ""


SCRIPT = """
import sys
from balancekit import LoadBalancer
from balancekit.checks import HttpCheck, Schedule, ThreadChecks
lb = LoadBalancer({{"a": "{0}", "b": "{0}"}})
checks = ThreadChecks(lb, HttpCheck(), schedule=Schedule(interval=60.0, timeout=50.0, jitter=0.0))
checks.start()
sys.stdin.readline()
print("leaving", flush=True)
"""


def test_the_interpreter_does_not_wait():
    """A program that ends with checks running, all of them hanging, ends at once and says nothing."""
    with silence() as hanging:
        process = subprocess.Popen(
            [sys.executable, "-c", SCRIPT.format(hanging)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        wait_for(lambda: hanging.connected() == 2)
        process.stdin.write("\n")
        process.stdin.flush()
        assert process.stdout.readline() == "leaving\n"
        _, errors = process.communicate(timeout=MAX_WAIT_S)
    assert (process.returncode, errors) == (0, "")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_child_starts_over():
    """In the child the runner is stopped, and may be started and stopped; the parent's goes on."""
    with servers(1) as (server,):
        balancer = balancer_of(server.target, server.target)
        with ThreadChecks(balancer, HttpCheck(), schedule=QUICK) as checks:
            wait_for(lambda: server.asked > 3)
            child = os.fork()
            if child == 0:
                status = 1
                with contextlib.suppress(BaseException):
                    assert not checks.running
                    assert threading.active_count() == 1
                    checks.stop()
                    asked = []
                    own = ThreadChecks(balancer, lambda e, t: asked.append(e) or True, schedule=QUICK)
                    with own:
                        wait_for(lambda: len(asked) > 3)
                    assert threading.active_count() == 1
                    checks.start()
                    checks.stop()
                    status = 0
                os._exit(status)
            deadline = time.monotonic() + MAX_WAIT_S
            while (ended := os.waitpid(child, os.WNOHANG)) == (0, 0):
                if time.monotonic() > deadline:
                    os.kill(child, signal.SIGKILL)
                time.sleep(0.01)
            assert os.waitstatus_to_exitcode(ended[1]) == 0
            asked = server.asked
            wait_for(lambda: server.asked > asked + 3)


def test_verdicts_run_out_when_checks_end():
    """An endpoint that checks ejected is on trial once its last result holds no more."""
    with servers(1) as (alive,):
        balancer = balancer_of(alive.target, dead_target())
        with ThreadChecks(balancer, TcpCheck(), schedule=QUICK):
            wait_for(lambda: states(balancer) == ["healthy", "ejected"])
        assert QUICK.holds_for < 1.0
        wait_for(lambda: states(balancer) == ["healthy", "probing"])


@pytest.mark.parametrize(
    ("make", "options", "parameter"),
    [
        (lambda lb, **o: ThreadChecks(lb, 5, **o), {}, "check"),
        (lambda lb, **o: ThreadChecks(lb, TcpCheck(), **o), {"concurrency": 0}, "concurrency"),
        (lambda lb, **o: ThreadChecks(lb, TcpCheck(), **o), {"schedule": 5.0}, "schedule"),
        (lambda lb, **o: ThreadChecks(lb, TcpCheck(), **o), {"shared": 2.0}, "shared"),
        (lambda lb, **o: AsyncChecks(lb, lambda e, t: True, **o), {}, "check"),
        (lambda lb, **o: AsyncChecks(lb, TcpCheck(), **o), {"concurrency": 0}, "concurrency"),
        (lambda lb, **o: AsyncChecks(lb, TcpCheck(), **o), {"schedule": None}, "schedule"),
        (lambda lb, **o: AsyncChecks(lb, TcpCheck(), **o), {"shared": True}, "shared"),
    ],
)
def test_bad_options_are_refused(make, options, parameter):
    """Each wrong value raises ConfigurationError at construction, which names the parameter."""
    with pytest.raises(ConfigurationError) as caught:
        make(balancer_of("1", "2"), **options)
    assert caught.value.parameter == parameter


@pytest.mark.parametrize("health", [None, MaxFails()])
def test_a_policy_that_hears_no_checks_is_named(health):
    """A report to a policy that takes no checks raises an error that names the policy."""
    from balancekit.health import CheckResult

    with pytest.raises(ConfigurationError, match="takes check results"):
        balancer_of("1", "2", health=health).report_check("a", CheckResult(passed=True))
    with pytest.raises(ConfigurationError, match="result"):
        balancer_of("1", "2").report_check("a", 1)
