"""The retry exchange, without a client: what it yields, and which leases are open meanwhile."""

from __future__ import annotations

import gc
import weakref
from types import SimpleNamespace
from typing import Any

import aiohttp
import httpx
import pytest

from balancekit import First, LoadBalancer, Outcome
from balancekit.adapters._aiohttp_errors import classify_error as aiohttp_error
from balancekit.adapters._call import Call
from balancekit.adapters._classification import CANCELLED, Classification, RetryScope
from balancekit.adapters._config import AdapterConfig
from balancekit.adapters._exchange import Answer, Directive, Rules, carry_out, exchange
from balancekit.adapters._httpx_requests import foreign_error as httpx_error
from balancekit.adapters._target import address_of
from balancekit.errors import UnavailableError
from balancekit.retry import RetryBudget
from balancekit.testing import ManualClock

REQUEST = SimpleNamespace(method="GET", headers={})
WHERE = address_of("10.0.0.1:80")


class NoEndpointError(Exception):
    """The error of a client without an endpoint."""


class BrokenError(Exception):
    """A connection that broke."""


def classify(error: BaseException) -> Classification:
    """Classify a broken connection as worth another attempt."""
    if isinstance(error, BrokenError):
        return Classification(Outcome.FAILURE, RetryScope.IDEMPOTENT, "disconnect")
    return CANCELLED


RULES = Rules(classify, lambda _: True, lambda error: NoEndpointError(str(error)))


def pool(*ids: str, clock: ManualClock | None = None, **options: Any) -> tuple[LoadBalancer[str], Call]:
    """Return a balancer that picks in order, and a call of it."""
    clock = clock or ManualClock()
    lb = LoadBalancer([f"{id}:80" for id in ids], selector=First(), clock=clock)
    budget = RetryBudget(ratio=0.0, reserve=10.0)
    config = AdapterConfig(lb, clock=clock, budget=budget, **options)
    return lb, Call(config, None, None, 1.0)


def answer(status: int) -> Answer[str]:
    """Return an answer of a status."""
    return Answer("response", status, {}, WHERE)


def inflight(lb: LoadBalancer[str]) -> dict[str, int]:
    """Return how many leases are open, by endpoint."""
    return {stats.id: stats.inflight for stats in lb.stats().endpoints if stats.inflight}


def test_an_answer_that_is_not_to_be_retried_is_the_last_directive_but_one() -> None:
    """After an answer that stands the exchange yields SEND and then OVER.

    The lease is open until the body has been read.
    """
    lb, call = pool("a", "b")
    steps = exchange(call, REQUEST, RULES)
    assert next(steps) is Directive.SEND
    assert steps.send(answer(200)) is Directive.OVER
    assert inflight(lb) == {"a:80": 1}
    call.whole()
    assert not inflight(lb)


def test_an_answer_is_discarded_only_when_the_next_lease_is_there() -> None:
    """After a 502 it yields DISCARD, with a lease on another endpoint; then SEND."""
    lb, call = pool("a", "b")
    steps = exchange(call, REQUEST, RULES)
    next(steps)
    assert steps.send(answer(502)) is Directive.DISCARD
    assert inflight(lb) == {"b:80": 1}
    assert next(steps) is Directive.SEND
    assert steps.send(answer(502)) is Directive.OVER
    assert call.tried == ["a:80", "b:80"]


def test_an_error_is_followed_by_another_attempt_without_a_discard() -> None:
    """After an error that may be retried it yields SEND, for nothing is in hand; after the last attempt OVER."""
    lb, call = pool("a", "b")
    steps = exchange(call, REQUEST, RULES)
    next(steps)
    assert steps.send(BrokenError()) is Directive.SEND
    assert inflight(lb) == {"b:80": 1}
    assert steps.send(BrokenError()) is Directive.OVER
    assert not inflight(lb)
    assert lb.stats()["a:80"].outcomes[Outcome.FAILURE] == 1


@pytest.mark.parametrize("back", [True, False])
def test_it_waits_for_an_endpoint_and_no_longer_than_it_may(back: bool) -> None:
    """While every endpoint cools down it yields WAIT with the pause; when the time to wait is over, it raises."""
    clock = ManualClock()
    lb, call = pool("a", clock=clock, wait_for_capacity=5.0)
    lb.acquire().release(Outcome.OVERLOADED, retry_after=3.0)
    steps = exchange(call, REQUEST, RULES)
    assert next(steps) is Directive.WAIT
    assert call.pause == 3.0
    if back:
        clock.advance(3.0)
        assert next(steps) is Directive.SEND
        call.closed()
    else:  # another request has had it cool down again
        with pytest.raises(NoEndpointError):
            next(steps)
    assert not inflight(lb)


def test_no_endpoint_is_the_clients_own_error() -> None:
    """If none is eligible and none will be soon, the first step raises that error, from ``UnavailableError``."""
    lb, call = pool("a")
    lb.drain("a:80")
    with pytest.raises(NoEndpointError) as caught:
        next(exchange(call, REQUEST, RULES))
    assert isinstance(caught.value.__cause__, UnavailableError)


def test_an_error_of_the_last_attempt_is_raised_as_it_is_and_keeps_nothing() -> None:
    """The very error comes out, with a note; nothing of the request survives it, without a collection of garbage."""
    lb, call = pool("a")
    error: BrokenError | None = BrokenError("broken")

    def send() -> Answer[str]:
        assert error is not None
        raise error

    steps = exchange(call, REQUEST, RULES)
    gone = weakref.ref(steps)
    gc.collect()
    gc.disable()
    try:
        with pytest.raises(BrokenError, match="broken") as caught:
            carry_out(call, steps, send, len, str)
        assert caught.value is error
        assert caught.value.__notes__ == ["balancekit: attempt 1, at endpoint 'a:80'"]
        del caught, steps
        error = None
        assert gone() is None
    finally:
        gc.enable()
    assert not inflight(lb)


@pytest.mark.parametrize("interrupt", [KeyboardInterrupt, SystemExit])
def test_an_interrupt_while_an_answer_is_discarded_ends_both_leases(interrupt: type[BaseException]) -> None:
    """An interrupt while an answer is discarded ends both leases, of the answer in hand and of the next attempt."""
    lb, call = pool("a", "b")
    closed = []

    def close(response: str) -> None:
        closed.append(response)
        if len(closed) == 1:
            raise interrupt

    with pytest.raises(interrupt):
        carry_out(call, exchange(call, REQUEST, RULES), lambda: answer(502), close, str)
    assert not inflight(lb)
    assert closed == ["response", "response"]


def test_an_error_of_closing_does_not_stop_the_next_attempt(caplog: pytest.LogCaptureFixture) -> None:
    """If closing an answer raises, the error is logged, and the request goes on with the lease that it has."""
    lb, call = pool("a", "b")
    statuses = iter([502, 200])

    def close(_: str) -> None:
        raise OSError("already closed")

    assert carry_out(
        call, exchange(call, REQUEST, RULES), lambda: answer(next(statuses)), close, str.upper
    ) == ("RESPONSE")
    assert "closing an answer" in caplog.text
    assert inflight(lb) == {"b:80": 1}
    call.whole()


def test_an_error_of_handing_over_closes_the_answer_and_the_lease() -> None:
    """If handing over an answer raises, the answer is closed and its lease ends."""
    lb, call = pool("a")
    closed = []

    def hand_over(_: str) -> str:
        raise ValueError("a header that cannot be read")

    with pytest.raises(ValueError, match="a header"):
        carry_out(call, exchange(call, REQUEST, RULES), lambda: answer(200), closed.append, hand_over)
    assert not inflight(lb)
    assert closed == ["response"]


@pytest.mark.parametrize("method", ["deposit", "balance", "withdraw"])
@pytest.mark.parametrize("status", [None, 502], ids=["error", "answer"])
def test_a_budget_that_raises_leaves_no_lease_open(
    method: str, status: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its error is the caller's at the first attempt, and no endpoint's; after that what came of the attempt stands."""
    lb, call = pool("a", "b")

    def raises(*_: Any, **__: Any) -> None:
        raise ZeroDivisionError

    def send() -> Answer[str]:
        if status is None:
            raise BrokenError
        return answer(status)

    monkeypatch.setattr(RetryBudget, method, raises)
    if method == "deposit" or status is None:
        with pytest.raises(ZeroDivisionError if method == "deposit" else BrokenError) as caught:
            carry_out(call, exchange(call, REQUEST, RULES), send, len, str)
        assert not inflight(lb)  # while the error is kept, and with it what its frames have
        del caught
    else:
        assert carry_out(call, exchange(call, REQUEST, RULES), send, len, str) == "response"
        call.whole()
        assert not inflight(lb)


def test_errors_that_are_their_own_causes_are_classified() -> None:
    """An exception object that is raised twice can be in a ring of causes; it is walked once."""
    ring: list[Exception] = [aiohttp.ClientOSError("first"), httpx.ReadError("second")]
    ring[0].__cause__, ring[1].__cause__ = ring[1], ring[0]
    _, call = pool("a")
    session: Any = SimpleNamespace(closed=False)
    late = aiohttp.ConnectionTimeoutError("third")
    assert aiohttp_error(ring[0], call, session).outcome is Outcome.FAILURE
    assert aiohttp_error(late, call, session).outcome is Outcome.CONNECT_FAILED
    assert httpx_error(ring[1], httpx.Request("GET", "http://orders/"), call) is None


class _Once(First):
    """Selects once, then raises."""

    def __init__(self) -> None:
        super().__init__()
        self.armed = False

    def select(self, snapshot: Any, ctx: Any) -> Any:
        if self.armed:
            raise KeyError("mine")
        return super().select(snapshot, ctx)

    picker = None


@pytest.mark.parametrize("what", ["selector", "clock", "listener"])
@pytest.mark.parametrize("came", [answer(503), BrokenError("broken")], ids=["answer", "error"])
def test_what_came_of_an_attempt_survives_an_error_on_the_way_to_the_next(what: str, came: Any) -> None:
    """If a selector, a clock or a listener raises while another attempt is looked for, the answer or error in hand stands."""
    armed: list[bool] = []
    ticks = ManualClock()

    def clock() -> float:
        if armed and what == "clock":
            raise KeyError("mine")
        return ticks()

    selector = _Once()
    lb = LoadBalancer(["a:80", "b:80"], selector=selector if what == "selector" else First())

    def listen(_event: object) -> None:
        if armed and what == "listener":
            raise KeyError("mine")

    lb.on_event(listen)
    call = Call(AdapterConfig(lb, clock=clock, budget=RetryBudget(ratio=0.0, reserve=10.0)), None, None, 1.0)
    steps = exchange(call, REQUEST, RULES)
    assert next(steps) is Directive.SEND
    armed.append(True)
    selector.armed = True
    directive = steps.send(came)
    if what == "listener":
        assert directive is (Directive.DISCARD if isinstance(came, Answer) else Directive.SEND)
    else:
        assert directive is Directive.OVER
    call.closed()
    assert not inflight(lb)
