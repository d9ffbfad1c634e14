"""Stores without a server: members, hints and tokens of a process, and the tasks that exchange them."""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
import os
import statistics
import threading
from decimal import Decimal
from random import Random

import pytest

from balancekit import ConfigurationError, LoadBalancer, Outcome, PowerOfChoices, SaturatedError
from balancekit.loads import InFlight
from balancekit.sharing import AsyncRedisStore, Hint, RedisStore, Shared, SharedEjections, SharedRateLimit
from balancekit.sharing._rate_limit import TokenBlock
from balancekit.testing import ManualClock

EMPTY = json.dumps({"sums": [], "hints": [], "granted": []})


class Client:
    """A client of redis-py, as far as a store of tasks looks at it."""

    def __init__(self, *answers):
        self.answers, self.asked = list(answers), []

    async def eval(self, _script, _keys, *arguments):
        """Answer what it is told to, then nothing."""
        self.asked.append(json.loads(arguments[-1]))
        answer = self.answers.pop(0) if self.answers else EMPTY
        if isinstance(answer, BaseException):
            raise answer
        return answer


class GrantingClient(Client):
    """One that grants whatever tokens are wanted."""

    async def eval(self, script, keys, *arguments):
        """Grant them."""
        await super().eval(script, keys, *arguments)
        granted = [wanted for *_, wanted in self.asked[-1]["quotas"]]
        return json.dumps({"sums": [], "hints": [], "granted": granted})


class ThreadClient:
    """The same for a store of threads."""

    def eval(self, _script, _keys, *_arguments):
        """Answer nothing."""
        return EMPTY


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
@pytest.mark.parametrize("kind", ["thread", "task"])
def test_a_forked_child_is_another_member(kind):
    """Workers that fork from one program with a store each count as members of their own."""
    store = RedisStore(ThreadClient(), name="x") if kind == "thread" else AsyncRedisStore(Client(), name="x")
    mine, (reading, writing) = store.core.member, os.pipe()
    child = os.fork()
    if not child:
        os.write(writing, store.core.member.encode())
        os._exit(0)
    os.waitpid(child, 0)
    assert os.read(reading, 100).decode() not in {"", mine}
    assert store.core.member == mine
    os.close(reading)
    os.close(writing)


def limited(store, rate=10.0, **options):
    """Return a balancer of one endpoint with a quota at a store, and its clock."""
    clock = ManualClock()
    return LoadBalancer(["a"], selector=SharedRateLimit(store, rate, **options), clock=clock), clock


@pytest.mark.parametrize("requests", [0, 1])
def test_a_child_has_no_tokens_of_its_parent(requests):
    """A forked child does not spend the tokens of its parent, whether the parent has spent some or not yet."""
    store = AsyncRedisStore(GrantingClient(), name="x")
    lb, _ = limited(store)
    asyncio.run(store.synchronize())
    for _ in range(requests):
        lb.acquire().release()
    store.after_fork()
    with pytest.raises(SaturatedError):
        lb.acquire()


def test_a_child_owes_what_its_parent_owed():
    """A debt stays in a forked child: with 2 tokens, a cost of 12 leaves a debt of 10, which the next block of 10 pays."""
    store = AsyncRedisStore(GrantingClient(), name="x")
    lb, _ = limited(store, by_cost=True, replicas=10)
    asyncio.run(store.synchronize())
    lb.acquire(cost=12.0).release()
    store.after_fork()
    asyncio.run(store.synchronize())
    with pytest.raises(SaturatedError):
        lb.acquire()
    asyncio.run(store.synchronize())
    lb.acquire().release()


@pytest.mark.parametrize(("burst", "replicas", "allowed"), [(40.0, 4, 10), (40.0, 1, 40), (4.0, 8, 1)])
def test_a_process_without_a_store_has_its_share_of_a_burst(burst, replicas, allowed):
    """While the store does not answer, a process that has rested takes ``burst / replicas`` at once, and at least one."""
    store = AsyncRedisStore(Client(ConnectionError("no server")), name="x")
    lb, clock = limited(store, burst=burst, replicas=replicas)
    asyncio.run(store.synchronize())
    with pytest.raises(SaturatedError):
        lb.acquire()
    clock.advance(1_000.0)
    for _ in range(allowed):
        lb.acquire().release()
    with pytest.raises(SaturatedError):
        lb.acquire()


@pytest.mark.parametrize(("rate", "burst"), [(5.0, 5.0), (0.2, 1.0)])
def test_a_burst_is_the_tokens_of_a_second(rate, burst):
    """A burst that is left out is what the rate gives in a second, and at least one request."""
    client = Client()
    store = AsyncRedisStore(client, name="x")
    _lb = limited(store, rate)
    asyncio.run(store.synchronize())
    assert client.asked[0]["quotas"][0][:3] == ["a", rate, burst]


def test_an_exchange_that_is_cancelled_from_within_is_a_failure():
    """A ``CancelledError`` that the client raises is logged as a store that does not answer; the next exchange is made."""
    client = Client(asyncio.CancelledError())

    async def main():
        async with AsyncRedisStore(client, name="x", period=0.001) as store:
            async with asyncio.timeout(5.0):
                while len(client.asked) < 3:  # noqa: ASYNC110 - nothing tells of an exchange
                    await asyncio.sleep(0.001)
            return store.core.answers

    assert asyncio.run(main())


def test_a_cancellation_at_the_end_of_the_block_is_not_lost():
    """A task that is cancelled while it leaves ``async with`` ends as cancelled."""
    stuck = asyncio.Event()

    class Slow(Client):
        async def eval(self, _script, _keys, *_arguments):
            try:
                await asyncio.sleep(60.0)
            finally:
                stuck.set()
                await asyncio.sleep(0.02)

    async def leave():
        async with AsyncRedisStore(Slow(), name="x"):
            await asyncio.sleep(0)

    async def main():
        task = asyncio.create_task(leave())
        await stuck.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())


def test_a_client_that_forgets_a_cancellation_does_not_keep_the_block():
    """``async with`` is left although the client forgets the cancellation of the task, as ``wait_for`` of 3.11 may."""
    asking = asyncio.Event()

    class Forgetful(Client):
        async def eval(self, script, keys, *arguments):
            if not asking.is_set():
                asking.set()
                with contextlib.suppress(asyncio.CancelledError):
                    await asyncio.sleep(60.0)
            return await super().eval(script, keys, *arguments)

    async def main():
        async with asyncio.timeout(5.0), AsyncRedisStore(Forgetful(), name="x", period=0.001):
            await asking.wait()

    asyncio.run(main())


def test_a_hint_without_an_end_ends_after_a_day():
    """A hint without an end is given to the store with an end after a day."""
    client = Client()
    store = AsyncRedisStore(client, name="x")
    store.core.hint("a", float("inf"))
    store.core.hint("b", 3.0)
    asyncio.run(store.synchronize())
    assert dict(client.asked[0]["hints"]) == {"a": 86_400.0, "b": 3.0}


def test_a_period_is_converted_before_it_is_used():
    """The time to live that follows from a period is computed from the number that is stored."""
    core = RedisStore(ThreadClient(), name="x", period=Decimal("0.5")).core
    assert (core.period, core.ttl) == (0.5, 5.0)
    assert RedisStore(ThreadClient(), name="x", period=Decimal(1), ttl=Decimal(3)).core.ttl == 3.0


def test_hints_that_wait_for_an_exchange_are_limited():
    """A store that is never started keeps 10,000 hints at most, the newest."""
    client = Client()
    store = AsyncRedisStore(client, name="x")
    for number in range(10_003):
        store.core.hint(f"e{number}", 5.0)
    asyncio.run(store.synchronize())
    hints = dict(client.asked[0]["hints"])
    assert len(hints) == 10_000
    assert "e2" not in hints
    assert {"e3", "e10002"} <= hints.keys()


def test_failures_of_endpoints_that_were_removed_are_forgotten():
    """Endpoints that come and go for weeks take no more room than those that are there."""
    lb = LoadBalancer(["stays"])
    hints = SharedEjections(lb, RedisStore(ThreadClient(), name="x"))
    lb.acquire().release(Outcome.FAILURE)
    for number in range(50):
        lb.add(f"pod-{number}")
        lb.acquire(exclude=["stays"]).release(Outcome.FAILURE)
        lb.remove(f"pod-{number}")
    assert set(hints._suspected) == {"stays"}
    hints.stop()


def test_ejections_that_have_stopped_take_no_hints_and_others_at_the_store_do():
    """``stop`` takes these ejections from the store, and leaves those of another balancer there."""
    hints = [["p1", "a", 30.0], ["p2", "a", 30.0]]
    store = AsyncRedisStore(Client(json.dumps({"sums": [], "hints": hints, "granted": []})), name="x")
    one, other = LoadBalancer(["a", "b", "c"]), LoadBalancer(["a", "b", "c"])
    stopped, going_on = SharedEjections(one, store), SharedEjections(other, store)
    stopped.stop()
    asyncio.run(store.synchronize())
    assert (one.stats()["a"].state, other.stats()["a"].state) == ("healthy", "ejected")
    going_on.stop()


@pytest.mark.parametrize(("requests", "state"), [(0, "ejected"), (1, "ejected"), (2, "healthy")])
def test_an_own_failure_makes_one_hint_enough_for_some_requests(requests, state):
    """With ``suspicion=2``, one hint ejects an endpoint that failed here up to one request ago, and none later."""
    lb = LoadBalancer(["a", "b", "c"])
    ejections = SharedEjections(lb, RedisStore(ThreadClient(), name="x"), suspicion=2)
    lb.acquire(exclude=["b", "c"]).release(Outcome.FAILURE)
    for _ in range(requests):
        lb.acquire(exclude=["b", "c"]).release()
    ejections.receive([Hint("p1", "a", 30.0), Hint("p1", "b", 30.0)])
    assert (lb.stats()["a"].state, lb.stats()["b"].state) == (state, "healthy")
    ejections.stop()


def test_a_request_does_not_fail_because_no_thread_can_be_started(monkeypatch, caplog):
    """If the system refuses the store's thread, requests go on with own counts, and a later one starts it."""

    def refused(_thread):
        raise RuntimeError("can't start new thread")

    store = RedisStore(ThreadClient(), name="x")
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refused)
        clock, load = ManualClock(), Shared(InFlight(), store=store)
        lb = LoadBalancer(["a", "b"], selector=PowerOfChoices(), load=load, clock=clock)
        lb.acquire().release()
    assert "can't start new thread" in caplog.text
    before = threading.enumerate()
    clock.advance(store.core.period)
    lb.acquire().release()
    assert [thread.name for thread in threading.enumerate() if thread not in before] == ["balancekit-store"]
    store.close()


def test_a_hint_that_the_store_did_not_take_is_given_again():
    """What was ejected while the store did not answer is told with the next exchange, for as long as it is in force."""
    down = OSError("no route")
    client = Client(down, down, EMPTY, down)
    store = AsyncRedisStore(client, name="x", period=1.0)

    def hints():
        asyncio.run(store.synchronize())
        return dict(client.asked[-1]["hints"])

    store.core.hint("a", 10.0)
    store.core.hint("b", 1.5)
    store.core.hint("ends with the period", 1.0)
    assert hints() == {"a": 10.0, "b": 1.5, "ends with the period": 1.0}
    store.core.hint("c", 5.0)
    assert hints() == {"a": 9.0, "b": 0.5, "c": 5.0}
    assert hints() == {"a": 8.0, "c": 4.0}
    assert hints() == {}
    assert hints() == {}


WRONG = {
    "no JSON": "OK",
    "nothing": "{}",
    "sums that are not counts": json.dumps({"sums": ["x"], "hints": [], "granted": [3]}),
    "tokens that are not numbers": json.dumps({"sums": [7], "hints": [], "granted": ["x"]}),
    "tokens without end": '{"sums": [7], "hints": [], "granted": [Infinity]}',
    "tokens below none": json.dumps({"sums": [7], "hints": [], "granted": [-3]}),
    "a hint too short": json.dumps({"sums": [7], "hints": [["m"]], "granted": [3]}),
    "a hint of no endpoint": json.dumps({"sums": [7], "hints": [["m", 5, 1.0]], "granted": [3]}),
    "a hint without an end": json.dumps({"sums": [7], "hints": [["m", "a", None]], "granted": [3]}),
}


@pytest.mark.parametrize("name", WRONG)
def test_an_answer_that_is_none_counts_in_no_part(name):
    """An answer that is malformed in one part is not used in any: neither sums nor tokens nor hints.

    Hints that were posted with the question are given again.
    """
    client, received = Client(WRONG[name]), []
    store = AsyncRedisStore(client, name="x", period=1.0)
    lb, _ = limited(store)
    store.core.listeners = (received.append,)
    store.core.hint("a", 10.0)
    asyncio.run(store.synchronize())
    assert not store.core.answers
    assert received == []
    with pytest.raises(SaturatedError):
        lb.acquire()
    asyncio.run(store.synchronize())
    assert dict(client.asked[-1]["hints"]) == {"a": 9.0}


class Down:
    """A client whose server does not answer, and that tries for long: redis-py does, for seconds."""

    def __init__(self):
        self.asked, self.called, self.end = [], threading.Event(), threading.Event()

    def eval(self, _script, _keys, *arguments):
        """Wait, then fail."""
        self.asked.append(json.loads(arguments[-1]))
        self.called.set()
        assert self.end.wait(60.0)
        raise ConnectionError("no server")


def test_the_end_of_a_program_does_not_wait_for_a_server_that_is_down():
    """``close`` asks nothing of a server that has not answered, and waits a period at most for the attempt that runs."""
    client = Down()
    store = RedisStore(client, name="x", period=0.01)
    store.start()
    assert client.called.wait(60.0)
    store.close()
    client.end.set()
    store.close()  # the attempt has failed: still nothing to take back
    assert [question.get("leave") for question in client.asked] == [None]


def test_counts_are_taken_back_from_a_server_that_answers():
    """The last question of a store that was answered takes the counts of its process back."""
    asked = []

    class Noting(ThreadClient):
        def eval(self, script, keys, *arguments):
            asked.append(json.loads(arguments[-1]).get("leave"))
            return super().eval(script, keys, *arguments)

    store = RedisStore(Noting(), name="x")
    store.synchronize()
    store.close()
    assert asked == [None, True]


def test_a_block_does_not_wait_for_a_server_that_is_down():
    """The end of ``async with`` asks nothing of a server whose last answer was an error."""
    client = Client(ConnectionError("no server"))

    async def main():
        async with AsyncRedisStore(client, name="x", period=60.0):
            while not client.asked:  # noqa: ASYNC110 - nothing tells of an exchange
                await asyncio.sleep(0)

    asyncio.run(main())
    assert [question.get("leave") for question in client.asked] == [None]


def test_ejections_are_shared_by_a_balancer_that_takes_checks_only():
    """``SharedEjections`` refuses a balancer without health, with which each exchange would raise."""
    with pytest.raises(ConfigurationError) as caught:
        SharedEjections(LoadBalancer(["a"], health=None), RedisStore(ThreadClient(), name="x"))
    assert caught.value.parameter == "balancer"


@pytest.mark.parametrize("rate", [10.0, 100.0, 1000.0])
def test_of_two_busy_processes_none_starves(rate):
    """Of two busy processes neither has less than a quarter of what both have.

    Neither waits longer than ten periods, or than 25 tokens of its half take.
    """
    rng, period, now = Random(1), 0.1, 0.0
    store = AsyncRedisStore(Client(), name="x", period=period).core
    blocks = [TokenBlock("key", rate, rate, 1.0) for _ in range(2)]
    tokens, at, due, served, last, longest = rate, 0.0, [0.0, 0.0], [0, 0], [0.0, 0.0], [0.0, 0.0]
    while now < 120.0:
        one = due.index(min(due))
        now = due[one]
        due[one] += store.pause(rng)
        *_, wanted = blocks[one].request()
        tokens, at = min(rate, tokens + (now - at) * rate), now
        granted = math.floor(min(wanted, tokens))
        tokens -= granted
        blocks[one].grant(granted)
        blocks[one].settle(now)
        while blocks[one].has(1.0):
            blocks[one].spend(1.0)
            served[one] += 1
            longest[one], last[one] = max(longest[one], now - last[one]), now
    assert min(served) > sum(served) / 4
    assert max(longest) < max(10 * period, 25 / (rate / 2))


def test_a_pause_is_a_period_on_average():
    """The pause between exchanges is a period on average, and at most a quarter longer or shorter."""
    rng = Random(1)
    pauses = [AsyncRedisStore(Client(), name="x", period=2.0).core.pause(rng) for _ in range(1_000)]
    assert 1.5 <= min(pauses) < 1.6
    assert 2.4 < max(pauses) <= 2.5
    assert statistics.fmean(pauses) == pytest.approx(2.0, abs=5 * (1.0 / 12**0.5) / 1_000**0.5)


def test_hints_of_a_question_that_was_interrupted_are_given_again():
    """A hint stays until the store has taken it, whatever becomes of a question; one that is newer stays beyond that."""
    core = RedisStore(ThreadClient(), name="x").core
    core.hint("a", 10.0)
    core.hint("b", 10.0)
    core.request()  # and an interrupt
    request = core.request()
    core.hint("a", 30.0)
    core.answered(request, EMPTY)
    assert json.loads(core.request().arguments[-1])["hints"] == [["a", 30.0]]


def test_a_failure_ages_what_was_asked_once():
    """Of two questions that fail with the same hint, one makes it a period older; what was taken meanwhile does not come back."""
    core = RedisStore(ThreadClient(), name="x", period=1.0).core
    core.hint("a", 10.0)
    first, second, third = core.request(), core.request(), core.request()
    core.failed(OSError(), first)
    core.failed(OSError(), second)
    assert json.loads(core.request().arguments[-1])["hints"] == [["a", 9.0]]
    core.answered(core.request(), EMPTY)
    core.failed(OSError(), third)
    assert json.loads(core.request().arguments[-1])["hints"] == []


def test_two_questions_at_once_are_answered_each_by_its_own():
    """Counts, and tokens of quotas, are those of the question that is answered, whatever was asked meanwhile."""
    store = RedisStore(ThreadClient(), name="x")
    store.start = lambda: None
    lb = LoadBalancer(["a"], selector=PowerOfChoices(), load=Shared(InFlight(), store=store))
    held = [lb.acquire(), lb.acquire()]
    node = next(iter(next(iter(store.core._exchanges))._pool().loads.values())).node
    first = store.core.request()
    block = TokenBlock("a", 10.0, 10.0, 1.0)
    store.core.add_quota(block)
    held.append(lb.acquire())
    second = store.core.request()
    store.core.answered(first, json.dumps({"sums": [7], "hints": [], "granted": []}))
    assert (node.latency_estimate, block._grants.granted) == (5, 0.0)
    store.core.answered(second, json.dumps({"sums": [7], "hints": [], "granted": [2.0]}))
    assert (node.latency_estimate, block._grants.granted) == (4, 2.0)
    for lease in held:
        lease.release()


def test_what_was_used_is_asked_for_once():
    """Of two questions at once, one asks for what the requests since the last one used."""
    block = TokenBlock("a", 10.0, 100.0, 1.0)
    block.request()
    block.spend(4.0)
    assert [block.request()[-1] for _ in range(2)] == [12, 5]  # twice what was used, or one, and the debt


def test_a_balancer_that_raises_for_hints_is_no_failure_of_the_store(caplog):
    """What one listener raises for hints is logged; the others hear of them, and the store counts as one that answers."""
    core, heard, block = RedisStore(ThreadClient(), name="x").core, [], TokenBlock("a", 5.0, 5.0, 1.0)
    core.listeners = (lambda _hints: 1 / 0, heard.append)
    core.add_quota(block)
    request = core.request()
    core.answered(request, json.dumps({"sums": [], "hints": [["p", "a", 1.0]], "granted": [1.0]}))
    assert heard == [[Hint("p", "a", 1.0)]]
    assert core.answers
    assert block._grants.granted == 1.0
    assert "ZeroDivisionError" in caplog.text


@pytest.mark.parametrize("replicas", [1, 4])
def test_a_store_that_neither_answers_nor_fails_leaves_each_its_part(replicas):
    """Three periods after the last answer, each process works by its part of the rate: a client without a time-out may hang."""
    now = 100.0
    store = RedisStore(ThreadClient(), name="x", period=1.0)
    store.start = lambda: None
    limit = SharedRateLimit(store, 8.0, burst=8.0, replicas=replicas)
    lb = LoadBalancer(["a"], selector=limit, clock=lambda: now)

    def served(seconds):
        nonlocal now
        count = 0
        for _ in range(16 * seconds):
            now += 1 / 16
            with contextlib.suppress(SaturatedError):
                lb.acquire().release()
                count += 1
        return count

    assert served(3) == 0
    assert served(10) == pytest.approx(80 / replicas, abs=1.0)
    held = limit._blocks["a"]
    held.grant(0.0)
    assert served(3) <= 8 / replicas
    assert served(10) == pytest.approx(80 / replicas, abs=1.0)


@pytest.mark.parametrize("values", [["p", "a", math.nan], ["p", "a", math.inf], ["p", "a", -math.inf]])
def test_a_hint_without_a_time_is_no_answer(values):
    """A hint whose time is no finite number makes the answer none, before any of it counts."""
    core = RedisStore(ThreadClient(), name="x").core
    with pytest.raises(ValueError, match="invalid hints"):
        core.answered(core.request(), json.dumps({"sums": [], "hints": [values], "granted": []}))


def test_a_sum_that_no_float_holds_is_no_answer():
    """A sum beyond what the store can count exactly makes the answer none."""
    core = RedisStore(ThreadClient(), name="x").core
    with pytest.raises(ValueError, match="sums that are not counts"):
        core.answered(core.request(), json.dumps({"sums": [10**400], "hints": [], "granted": []}))


@pytest.mark.parametrize("error", [OSError("gone"), SystemExit(3), KeyboardInterrupt()], ids=repr)
def test_the_thread_of_a_store_goes_on_whatever_its_client_raises(error):
    """What a client raises, what ends threads included, is a store that does not answer: it is asked again."""
    asked, again = [], threading.Event()

    class Raising:
        def eval(self, *_):
            asked.append(1)
            if len(asked) >= 3:
                again.set()
            raise error

    with RedisStore(Raising(), name="orders", period=0.01) as store:
        store.start()
        assert again.wait(10.0)
        assert not store.core.answers
