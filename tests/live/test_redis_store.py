"""Counts, ejections and quotas shared through a real Redis server."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import shutil
import signal
import socketserver
import subprocess
import threading
import time

import pytest
from redis import Redis
from redis.asyncio import Redis as AsyncRedis
from redis.exceptions import RedisError
from tests.concurrency.test_fork import in_child

from balancekit import ConfigurationError, LoadBalancer, Outcome, PowerOfChoices, SaturatedError
from balancekit.health import ConsecutiveFailures, Lifecycle
from balancekit.loads import InFlight
from balancekit.sharing import AsyncRedisStore, Hint, RedisStore, Shared, SharedEjections, SharedRateLimit
from balancekit.testing import ManualClock

pytestmark = [
    pytest.mark.skipif(shutil.which("redis-server") is None, reason="needs redis-server"),
    pytest.mark.filterwarnings("ignore:a lease of endpoint"),
]


@contextlib.contextmanager
def running(path):
    """Run a server on a socket of its own; yields the process."""
    process = subprocess.Popen(
        ["redis-server", "--port", "0", "--unixsocket", path, "--save", ""], stdout=subprocess.DEVNULL
    )
    try:
        deadline = time.monotonic() + 20.0
        while time.monotonic() < deadline:
            try:
                with Redis(unix_socket_path=path) as asking:
                    asking.ping()
                break
            except RedisError:
                time.sleep(0.02)
        yield process
    finally:
        process.send_signal(signal.SIGCONT)
        process.terminate()
        process.wait(10.0)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """Run a server for the module; yields the process and the path."""
    path = str(tmp_path_factory.mktemp("redis") / "socket")
    with running(path) as process:
        yield process, path


@pytest.fixture
def client(server):
    """Return a client of an empty server."""
    with Redis(unix_socket_path=server[1], socket_timeout=0.3) as found:
        found.flushall()
        yield found


def balancer(ids, store, **options):
    """Return a balancer that shares, with the store's runner stopped: tests exchange by hand."""
    options.setdefault("clock", ManualClock())
    return LoadBalancer(
        ids, selector=PowerOfChoices(), load=Shared(InFlight(), store=store), rng=random.Random(3), **options
    )


class Manual:
    """A store whose exchanges are made by the test alone."""

    def __init__(self, client, **options):
        self.real = RedisStore(client, name="test", **options)
        self.core = self.real.core

    def exchange(self):
        """Return an exchange that starts no thread."""
        return self.core.exchange()


def others(lb):
    """Return what a balancer knows of others."""
    with lb.acquire() as lease:
        return {id: load.others for id, load in lease.node.load.pool.loads.items()}


def test_each_sees_the_others(client):
    """After two exchanges each process has the open leases of all others, without its own, and by endpoint id."""
    stores = [Manual(client) for _ in range(3)]
    lbs = [
        balancer(ids, store) for ids, store in zip((["a", "b"], ["b", "c"], ["c", "a"]), stores, strict=True)
    ]
    for lb in lbs:
        lb.acquire().release()
    held = [[lb.acquire() for _ in range(count)] for lb, count in zip(lbs, (5, 3, 1), strict=True)]
    for store in stores * 2:
        store.real.synchronize()
    for number, lb in enumerate(lbs):
        elsewhere = [lease.target for other in range(3) if other != number for lease in held[other]]
        assert others(lb) == {endpoint.id: elsewhere.count(endpoint.id) for endpoint in lb.endpoints}


def test_two_balancers_of_one_process_see_each_other(client):
    """The sum for a pool has what other pools of the same process have in flight."""
    store = Manual(client)
    one, other = balancer(["a", "b"], store), balancer(["a", "b"], store)
    one.acquire().release()
    other.acquire().release()
    held = [other.acquire() for _ in range(4)]
    store.real.synchronize()
    assert others(one) == {id: [lease.target for lease in held].count(id) for id in "ab"}
    assert others(other) == {"a": 0, "b": 0}


def test_an_endpoint_that_leaves_and_returns_keeps_its_open_leases(client):
    """Open leases of an endpoint that left count until they end: while it is gone, after it came back, and for its own process."""
    store, far = Manual(client), Manual(client)
    lb, other = balancer(["a", "b"], store), balancer(["a", "b"], far)
    held = [lb.acquire() for _ in range(6)]
    other.acquire().release()

    def exchanged():
        for _ in range(2):
            store.real.synchronize()
            far.real.synchronize()
        return others(other)

    wanted = {id: [lease.target for lease in held].count(id) for id in "ab"}
    lb.update(["b"])
    assert exchanged() == wanted
    lb.update(["b", "a"])
    assert exchanged() == wanted
    assert others(lb) == {"b": 0, "a": wanted["a"]}
    for lease in held:
        lease.release()
    assert exchanged() == {"a": 0, "b": 0}
    assert others(lb) == {"b": 0, "a": 0}


def test_sums_are_those_of_a_model(client):
    """Random counts, joins, leaves, deaths and evictions of keys: after each exchange the sums are those of a model."""
    rng = random.Random(11)
    model: dict[str, dict[str, int]] = {}
    cores = {}
    for step in range(300):
        if len(cores) < 2 or rng.random() < 0.05:
            manual = Manual(client, period=1.0)
            lb = balancer(["a", "b", "c"], manual)
            lb.acquire().release()
            cores[manual.core.member] = (manual, lb, [])
        member, (manual, lb, held) = rng.choice(list(cores.items()))
        what = rng.random()
        if what < 0.05:
            manual.real.close()
            model.pop(member, None)
            del cores[member]
            continue
        if what < 0.1:
            client.delete(f"balancekit:{{test}}:{member}")
        elif what < 0.15:
            client.zadd("balancekit:{test}:members", {member: 1.0})  # long ago: it has died
            model.pop(member, None)
            del cores[member]
            continue
        elif what < 0.6 or not held:
            held.append(lb.acquire())
        else:
            held.pop(rng.randrange(len(held))).release()
        manual.real.synchronize()
        model[member] = {id: [lease.target for lease in held].count(id) for id in "abc"}
        wanted = {id: sum(row[id] for name, row in model.items() if name != member) for id in "abc"}
        assert {id: load.others for id, load in manual_loads(lb).items()} == wanted, step


def manual_loads(lb):
    """Return the loads of a balancer."""
    with lb.acquire() as lease:
        return lease.node.load.pool.loads


def test_a_process_that_is_not_heard_of_counts_no_longer(client):
    """After ``ttl`` its counts are out of the sums, whichever process exchanges next."""
    gone, there = Manual(client, period=0.1, ttl=0.3), Manual(client, period=0.1, ttl=0.3)
    lb, watching = balancer(["a", "b"], gone), balancer(["a", "b"], there)
    watching.acquire().release()
    lb.acquire().release()
    held = [lb.acquire() for _ in range(4)]
    gone.real.synchronize()
    there.real.synchronize()
    assert sum(others(watching).values()) == len(held)
    time.sleep(0.35)
    there.real.synchronize()
    assert sum(others(watching).values()) == 0


def test_a_clock_that_went_back_keeps_no_process_alive(client):
    """After a failover to a server whose clock is behind, a process that has ended counts no longer than its ``ttl``."""
    stores = [Manual(client, period=0.05, ttl=ttl) for ttl in (0.3, 60.0, 0.3)]
    lbs = [balancer(["a", "b"], store) for store in stores]
    for lb in lbs:
        lb.acquire().release()
    held = [[lb.acquire() for _ in range(2)] for lb in lbs[:2]]
    for store in stores:
        store.real.synchronize()
    ended, slow, witness = stores
    behind = {store.core.member: time.time() + 3600.0 + store.core.ttl for store in (ended, slow)}
    client.zadd("balancekit:{test}:members", behind)
    witness.real.synchronize()
    assert others(lbs[2]) == {"a": 2, "b": 2}
    time.sleep(1.6)  # the store keeps the time
    witness.real.synchronize()
    assert others(lbs[2]) == {"a": 1, "b": 1}
    left = client.zscore("balancekit:{test}:members", slow.core.member) - time.time()
    assert 50.0 < left < 60.0
    assert len(held) == 2


def test_the_thread_exchanges_by_itself(client):
    """Two stores with threads know of each other's leases within a few periods.

    Closing a store takes its leases back.
    """
    with (
        RedisStore(client, name="threads", period=0.05) as one,
        RedisStore(client, name="threads", period=0.05) as two,
    ):
        a, b = balancer(["x", "y"], one), balancer(["x", "y"], two)
        held = [a.acquire() for _ in range(3)]
        wanted = {id: [lease.target for lease in held].count(id) for id in "xy"}
        assert eventually(lambda: others(b), wanted)
        one.close()
        assert eventually(lambda: others(b), {"x": 0, "y": 0})


def eventually(ask, wanted, seconds=5.0):
    """Ask again until the answer is the one wanted, or time is up."""
    deadline = time.monotonic() + seconds
    while ask() != wanted:
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def test_a_store_that_is_not_there_is_said_once(caplog):
    """A balancer whose store never answers works by own counts, and logs one line."""
    with (
        Redis(port=1, socket_timeout=0.1) as client,
        RedisStore(client, name="nowhere", period=0.01) as store,
    ):
        lb = balancer(["x", "y"], store)
        lb.acquire().release()
        for _ in range(5):
            store.synchronize()
        assert set(others(lb).values()) == {0}
    assert len([record for record in caplog.records if "store of shared loads" in record.getMessage()]) == 1


def test_a_store_that_is_stopped_costs_nothing_but_its_sums(server, client, caplog):
    """Requests go on with own counts; there is one warning; when it answers again, the sums are back."""
    process, path = server

    def said():
        return [
            record.levelname for record in caplog.records if "store of shared loads" in record.getMessage()
        ]

    caplog.set_level("INFO", logger="balancekit")
    with (
        RedisStore(client, name="down", period=0.05) as store,
        Redis(unix_socket_path=path) as other,
    ):
        lb = balancer(["x", "y"], store, clock=time.monotonic)
        other.eval("return 1", 0)
        peer = Manual(other)
        peer.core.name = "down"
        busy = balancer(["x", "y"], peer)
        busy.acquire().release()
        held = [busy.acquire() for _ in range(6)]
        peer.real.synchronize()
        assert eventually(lambda: sum(others(lb).values()), len(held))
        process.send_signal(signal.SIGSTOP)
        served = 0
        try:
            assert eventually(lambda: sum(others(lb).values()), 0)
            end = time.monotonic() + 20.0  # the client tries again by itself before it gives up
            while time.monotonic() < end and not said():
                lb.acquire().release()
                served += 1
        finally:
            process.send_signal(signal.SIGCONT)
        assert served > 100
        peer.real.synchronize()
        assert eventually(lambda: sum(others(lb).values()), len(held))
    assert said() == ["WARNING", "INFO"]


def test_sums_that_became_old_are_dropped(client):
    """If the runner stands still for more than three periods, picks go back to own counts by themselves."""
    clock = ManualClock()
    one, two = Manual(client, period=0.5), Manual(client, period=0.5)
    lb, busy = balancer(["a", "b"], one, clock=clock), balancer(["a", "b"], two)
    lb.acquire().release()
    busy.acquire().release()
    held = [busy.acquire() for _ in range(4)]
    two.real.synchronize()
    one.real.synchronize()
    clock.advance(0.5)
    assert sum(others(lb).values()) == len(held)
    clock.advance(1.5)
    assert sum(others(lb).values()) == len(held)
    clock.advance(0.5)
    assert sum(others(lb).values()) == 0


def test_a_task_exchanges_by_itself(server, client):
    """A task exchanges counts by itself inside ``async with``, and leaving the block takes the counts back."""

    async def main():
        one, two = (AsyncRedis(unix_socket_path=server[1]) for _ in range(2))
        async with AsyncRedisStore(one, name="tasks", period=0.02) as a:
            lb = balancer(["x", "y"], a)
            held = [lb.acquire() for _ in range(3)]
            wanted = {id: [lease.target for lease in held].count(id) for id in "xy"}
            async with AsyncRedisStore(two, name="tasks", period=0.02) as b:
                watching = balancer(["x", "y"], b)
                for _ in range(250):
                    if others(watching) == wanted:
                        break
                    await asyncio.sleep(0.02)
                assert others(watching) == wanted
        await one.aclose()
        await two.aclose()

    asyncio.run(main())
    assert client.zcard("balancekit:{tasks}:members") == 0
    assert client.hgetall("balancekit:{tasks}:sums") == {}


def test_a_forked_child_is_a_member_of_its_own(client):
    """The thread of a forked child starts with its first request, and its counts add to those of the parent."""
    with RedisStore(client, name="fork", period=0.05) as store:
        lb = balancer(["x"], store)
        mine = [lb.acquire() for _ in range(2)]

        def sums():
            found = client.hgetall("balancekit:{fork}:sums")
            return {key.decode(): int(value) for key, value in found.items() if key}

        assert eventually(sums, {"x": 2})

        def child():
            lease = lb.acquire()
            right = eventually(sums, {"x": 3})
            lease.release()
            store.close()
            return json.dumps([right, sums()])

        assert json.loads(in_child(child)) == [True, {"x": 2}]
        assert len(mine) == 2


def ejecting(client, **options):
    """Return a store, a balancer that ejects after three failures, and its hints."""
    store = Manual(client, **options)
    lb = LoadBalancer(
        ["a", "b", "c", "d"], health=Lifecycle(failures=ConsecutiveFailures(3)), clock=ManualClock()
    )
    return store, lb, SharedEjections(lb, store)


def fail(lb, endpoint, times):
    """Have requests to an endpoint fail."""
    for _ in range(times):
        lb.acquire(exclude={"a", "b", "c", "d"} - {endpoint}).release(Outcome.FAILURE)


def state(lb, endpoint):
    """Return the state of an endpoint."""
    return lb.stats()[endpoint].state


def test_ejections_spread_by_quorum(client):
    """One other process is not believed, two are; one is enough where an own request has failed; none feeds itself."""
    fleet = [ejecting(client) for _ in range(4)]
    (s0, lb0, _), (s1, lb1, _), (s2, lb2, _), (s3, lb3, _) = fleet

    def exchange():
        for store, _, _ in fleet * 2:
            store.real.synchronize()

    fail(lb0, "a", 3)
    exchange()
    assert [state(lb, "a") for _, lb, _ in fleet] == ["ejected", "healthy", "healthy", "healthy"]
    fail(lb1, "a", 1)
    exchange()
    assert [state(lb, "a") for _, lb, _ in fleet] == ["ejected", "ejected", "healthy", "healthy"]
    fail(lb2, "a", 3)
    exchange()
    assert [state(lb, "a") for _, lb, _ in fleet] == ["ejected"] * 4
    members = {json.loads(hint)[0] for hint in client.zrange("balancekit:{test}:hints", 0, -1)}
    assert members == {s0.core.member, s2.core.member}
    assert [state(lb3, id) for id in "bcd"] == ["healthy"] * 3
    assert s3.core.member not in members
    assert s1.core.member not in members


@pytest.mark.parametrize("end", ["closed", "killed"])
def test_a_process_that_is_started_again_is_no_quorum(client, end):
    """Hints of a process that has left, or has not reported for ``ttl``, do not count beside those of the one in its place."""
    store, lb, _ = ejecting(client, period=0.05, ttl=0.1)
    fail(lb, "a", 3)
    store.real.synchronize()
    if end == "closed":
        store.real.close()
    else:
        time.sleep(0.2)  # the store keeps the time
    (again, lb_again, _), (witness, lb_witness, _) = ejecting(client), ejecting(client)
    fail(lb_again, "a", 3)
    for each in (again, witness):
        each.real.synchronize()
    assert state(lb_witness, "a") == "healthy"
    if end == "killed":  # it was only slow
        store.real.synchronize()
        witness.real.synchronize()
        assert state(lb_witness, "a") == "ejected"


@pytest.mark.parametrize(("max_ejected", "out"), [(0.5, 2), (0.3, 1), (0.1, 0)])
def test_hints_eject_no_more_than_a_part(max_ejected, out):
    """With hints for all of four endpoints, at most that part of them is out, and always one less than all."""
    lb = LoadBalancer(["a", "b", "c", "d"], clock=ManualClock())
    hints = SharedEjections(lb, RedisStore(Redis(port=1), name="x"), max_ejected=max_ejected)
    hints.receive([Hint(f"p{number}", id, 30.0) for number in range(3) for id in "abcd"])
    assert sum(state(lb, id) == "ejected" for id in "abcd") == out
    hints.stop()


def test_a_limit_is_kept_together(client):
    """Six processes that ask for all they can get are granted at most burst + rate x time, and most of it."""
    clocks = [ManualClock() for _ in range(6)]
    begin = time.monotonic()
    stores = [RedisStore(client, name="limit", period=0.05) for _ in clocks]
    lbs = [
        LoadBalancer(
            ["a", "b"], selector=SharedRateLimit(store, 200.0, burst=40.0, replicas=6), clock=time.monotonic
        )
        for store in stores
    ]
    granted = 0
    while time.monotonic() < begin + 1.5:
        for lb in lbs:
            try:
                while True:
                    lb.acquire().release()
                    granted += 1
            except SaturatedError:
                pass
        time.sleep(0.01)
    for store in stores:
        store.close()
    most = 2 * (40.0 + 200.0 * (time.monotonic() - begin))
    assert granted <= most
    assert granted >= 0.4 * most


def test_without_a_store_each_keeps_its_part():
    """While the store does not answer, a process makes ``rate / replicas`` requests a second."""
    clock = ManualClock()
    granted = 0
    with (
        Redis(port=1, socket_timeout=0.1) as client,
        RedisStore(client, name="alone", period=100.0) as store,
    ):
        lb = LoadBalancer(["a"], selector=SharedRateLimit(store, 80.0, burst=8.0, replicas=8), clock=clock)
        store.synchronize()
        for _ in range(1000):
            clock.advance(0.01)
            try:
                lb.acquire().release()
                granted += 1
            except SaturatedError:
                pass
    assert granted == pytest.approx(100, abs=2)


@pytest.mark.parametrize(
    "options",
    [{"name": ""}, {"period": 0.0}, {"ttl": 0.1}, {"client": None}],
    ids=["name", "period", "ttl", "client"],
)
@pytest.mark.parametrize("kind", [RedisStore, AsyncRedisStore], ids=["thread", "task"])
def test_options_that_cannot_be_are_refused(kind, options):
    """Each wrong value raises ConfigurationError, which names the parameter."""
    given = {
        "client": (Redis if kind is RedisStore else AsyncRedis)(port=1),
        "name": "x",
        "period": 0.5,
        **options,
    }
    with pytest.raises(ConfigurationError, match=next(iter(options))):
        kind(given.pop("client"), **given)


def test_process_ids_are_not_members():
    """Members are random, so that processes of different hosts and containers never meet."""
    assert Manual(Redis(port=1)).core.member != Manual(Redis(port=1)).core.member
    assert os.getpid()


@pytest.fixture
def nonsense():
    """Run a server that accepts and answers what it is told to; yields its port and a list with the answer."""
    answer = [b"+OK\r\n"]

    class Handler(socketserver.BaseRequestHandler):
        """Answers each packet."""

        def handle(self):
            """Answer until the client leaves."""
            with contextlib.suppress(OSError):
                while self.request.recv(65_536):
                    self.request.sendall(answer[0])

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_address[1], answer
        server.shutdown()


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        b"\x00\xff\xfe\r\n",
        b"+OK\r\n",
        b":7\r\n",
        b"$-1\r\n",
        b"$2\r\n{}\r\n",
        b"$4\r\nnull\r\n",
        b"*1\r\n$1\r\na\r\n",
        b'$41\r\n{"sums":["9","9"],"hints":[],"granted":[]}\r\n',
        b'$41\r\n{"sums":[NaN,1e9],"hints":[],"granted":[]}\r\n',
        b'$37\r\n{"sums":[1,1],"hints":7,"granted":[]}\r\n\r\n',
        b"-NOAUTH Authentication required.\r\n",
        b"-LOADING Redis is loading the dataset in memory\r\n",
        b"-READONLY You can't write against a read only replica.\r\n",
        b"-OOM command not allowed when used memory > 'maxmemory'.\r\n",
    ],
    ids=[
        "http", "bytes", "status", "number", "nil", "empty", "null", "list", "texts", "nan", "hints", "auth", "loading",
        "replica", "memory",
    ],
)  # fmt: skip
def test_a_store_that_answers_nonsense_is_as_good_as_none(answer, nonsense, caplog):
    """Own counts, one line, no exception, whatever it says; and the balancer goes on."""
    port, said = nonsense
    said[0] = answer
    with (
        Redis(port=port, socket_timeout=0.2, retry=None) as client,
        RedisStore(client, name="odd", period=30.0) as store,
    ):
        lb = balancer(["x", "y"], store)
        held = lb.acquire()
        for _ in range(3):
            store.synchronize()
            lb.acquire().release()
        assert set(others(lb).values()) == {0}
        held.release()
    told = [
        record.getMessage() for record in caplog.records if "store of shared loads" in record.getMessage()
    ]
    assert len(told) == 1
    assert len(told[0]) < 600


def test_a_wrong_password_is_said_once_and_a_right_one_heals(server, client, caplog):
    """The line names the store and what the server says; with the right password, sums come back."""
    client.config_set("requirepass", "right")
    try:
        with Redis(unix_socket_path=server[1], password="right") as admin:
            for password, known in (("wrong", 0), ("right", 1)):
                with Redis(unix_socket_path=server[1], password=password, socket_timeout=0.3) as theirs:
                    one, two = Manual(theirs), Manual(theirs)
                    lb, other = balancer(["x"], one), balancer(["x"], two)
                    for each in (lb, other):
                        each.acquire().release()
                    held = other.acquire()
                    two.real.synchronize()
                    two.real.synchronize()
                    one.real.synchronize()
                    one.real.synchronize()
                    assert others(lb) == {"x": known}
                    held.release()
            admin.config_set("requirepass", "")
    finally:
        client.close()
    assert sum("going on with own data" in record.getMessage() for record in caplog.records) == 2


def test_a_clock_of_the_server_that_jumps_costs_no_more_than_one_exchange(client):
    """A clock of the server that jumps costs one exchange at most.

    Members that look too old are dropped, and are back with their next exchange.
    """
    stores = [Manual(client, period=0.5) for _ in range(2)]
    first, second = (balancer(["x"], store) for store in stores)
    held = [second.acquire() for _ in range(3)]
    first.acquire().release()
    for store in (*stores, *stores):
        store.real.synchronize()
    assert others(first) == {"x": 3}
    members = next(client.scan_iter("*members"))
    for member in client.zrange(members, 0, -1):
        client.zadd(members, {member: 1.0})  # as if an hour had passed for the server
    for store in (*stores, *stores):
        store.real.synchronize()
    assert others(first) == {"x": 3}
    for lease in held:
        lease.release()


def lose_sums(client, prefix, _members):
    """Lose the sums."""
    client.delete(prefix + "sums")


def lose_members(client, prefix, _members):
    """Lose who takes part, one of which is gone."""
    client.delete(prefix + "members")


def lose_own_row(client, prefix, members):
    """Lose the row of one that goes on."""
    client.delete(prefix + members[0])


def lose_row_of_gone(client, prefix, members):
    """Lose the row of one that is gone."""
    client.delete(prefix + members[-1])


def lose_rows(client, prefix, members):
    """Lose all rows."""
    client.delete(*[prefix + member for member in members])


def lose_all(client, _prefix, _members):
    """Lose everything, as a server that starts anew without a snapshot has."""
    client.flushall()


def take_sums_for_something_else(client, prefix, _members):
    """Write something of another type to the key of the sums, and delete it later."""
    client.set(prefix + "sums", "a text")


@pytest.mark.parametrize(
    "lose",
    [
        lose_sums,
        lose_members,
        lose_own_row,
        lose_row_of_gone,
        lose_rows,
        lose_all,
        take_sums_for_something_else,
    ],
)
def test_sums_are_right_again_whichever_key_was_lost(client, lose):
    """Whichever keys a server evicts or forgets, sums are right when each process has exchanged and the dead ones' time is over."""
    name = lose.__name__
    prefix = f"balancekit:{{{name}}}:"
    stores = [RedisStore(client, name=name, period=0.01, ttl=0.05) for _ in range(3)]
    for store in stores:
        store.start = lambda: None
    pools = [balancer(["x", "y"], store) for store in stores]
    held = [lb.acquire() for lb in pools for _ in range(3)]
    for store in stores:
        store.synchronize()
    client.persist(prefix + "members")
    lose(client, prefix, [store.core.member for store in stores])
    living = list(zip(stores, pools, strict=True))[:2]
    own = [{one.id: one.inflight for one in lb.stats().endpoints} for _, lb in living]

    def exchange():
        for store, _ in living:
            store.synchronize()
        return [others(lb) for _, lb in living]

    exchange()
    if lose is take_sums_for_something_else:
        client.delete(prefix + "sums")
    assert eventually(exchange, [own[1], own[0]])
    for lease in held:
        lease.release()
    none = {"x": 0, "y": 0}
    assert exchange()[1] == none
    assert exchange() == [none, none]
    for store in stores:
        store.close()
    assert not client.exists(prefix + "sums")


@pytest.mark.parametrize("kind", ["threads", "tasks"])
def test_a_server_that_became_a_replica_is_left(client, server, tmp_path, kind):
    """After a failover the name leads to another server, and the old one refuses writes over connections that stay open."""
    here, other = tmp_path / "name", tmp_path / "other"
    here.symlink_to(server[1])

    def fail_over():
        client.execute_command("REPLICAOF", "127.0.0.1", "1")
        here.unlink()
        here.symlink_to(other)

    with running(str(other)), contextlib.ExitStack() as stack:
        stack.callback(client.execute_command, "REPLICAOF", "NO", "ONE")
        if kind == "threads":
            with Redis(unix_socket_path=str(here), socket_timeout=0.5, retry=None) as connected:
                store = RedisStore(connected, name="test")
                answers = []
                for number in range(4):
                    if number == 1:
                        fail_over()
                    store.synchronize()
                    answers.append(store.core.answers)
                store.close()
        else:

            async def main():
                async with AsyncRedis(
                    unix_socket_path=str(here), socket_timeout=0.5, retry=None
                ) as connected:
                    store = AsyncRedisStore(connected, name="test")
                    found = []
                    for number in range(4):
                        if number == 1:
                            fail_over()
                        await store.synchronize()
                        found.append(store.core.answers)
                    return found

            answers = asyncio.run(main())
    assert answers == [True, False, True, True]
