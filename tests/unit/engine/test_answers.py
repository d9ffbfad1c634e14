"""First bytes and tokens of answers, by endpoint."""

from __future__ import annotations

import itertools

import pytest

from balancekit import ConfigurationError, First, LoadBalancer, Outcome
from balancekit.loads import InFlight
from balancekit.testing import ManualClock


def test_first_bytes_and_tokens_are_told_by_endpoint():
    """Statistics have the first byte, the tokens, and the speed after the first token of each endpoint.

    An endpoint that reported nothing has none of them.
    """
    clock = ManualClock()
    lb = LoadBalancer(["a", "b"], selector=First(), clock=clock, timed=True)
    with lb.acquire() as lease:
        clock.advance(0.25)
        lease.first_byte()
        clock.advance(2.0)
        lease.report_tokens(101)
        lease.report_tokens(7)
    one, other = lb.stats().endpoints
    assert (one.first_byte.p50, one.tokens, one.tokens_per_second.p50) == (0.25, 101, 50.0)
    assert (other.first_byte, other.tokens, other.tokens_per_second) == (None, 0, None)
    assert lb.stats().to_dict()["endpoints"][0]["tokens"] == 101


def test_tokens_that_are_known_late_or_without_a_first_byte_have_no_speed():
    """Tokens without a known first byte, and a single token, are counted and give no speed."""
    clock = ManualClock()
    lb = LoadBalancer(["a"], clock=clock, timed=True)
    late, silent, short = lb.acquire(), lb.acquire(), lb.acquire()
    late.first_byte()
    clock.advance(1.0)
    late.release()
    late.report_tokens(10)
    silent.report_tokens(5)
    short.first_byte()
    clock.advance(1.0)
    short.report_tokens(1)
    silent.release(Outcome.FAILURE)
    short.release()
    [one] = lb.stats().endpoints
    assert (one.tokens, one.tokens_per_second) == (16, None)


@pytest.mark.parametrize("count", [-1, 1.5, None, 10**13, 10**308, 10**400], ids=lambda count: str(count)[:9])
def test_a_number_of_tokens_is_whole_and_one_that_there_may_be(count):
    """A number of tokens that is not whole, or larger than any real one, raises ConfigurationError, and nothing is counted."""
    lb = LoadBalancer(["a"])
    lease = lb.acquire()
    lease.first_byte()
    with pytest.raises(ConfigurationError, match="count"):
        lease.report_tokens(count)
    lease.release()
    assert lb.stats()["a"].tokens == 0


def test_a_speed_that_no_float_holds_is_not_told():
    """Tokens within the smallest step of a clock are counted; they give no speed, and statistics are read as ever."""
    readings = itertools.count()
    lb = LoadBalancer(["a"], clock=lambda: next(readings) * 5e-324)
    with lb.acquire() as lease:
        lease.first_byte()
        lease.report_tokens(5)
    assert (lb.stats()["a"].tokens, lb.stats()["a"].tokens_per_second) == (5, None)


def test_a_balancer_without_times_counts_tokens_alone():
    """Without ``timed`` there are no seconds to the first byte, but the speed of tokens is known."""
    clock = ManualClock()
    lb = LoadBalancer(["a"], clock=clock, load=InFlight(), timed=False)
    with lb.acquire() as lease:
        lease.first_byte()
        clock.advance(1.0)
        lease.report_tokens(3)
    [one] = lb.stats().endpoints
    assert (one.first_byte, one.tokens, one.tokens_per_second.p50) == (None, 3, 2.0)


def test_an_answer_that_begins_after_the_end_is_not_told():
    """If another thread ends the lease while its first byte is noted, the load does not hear of an answer."""

    class Load(InFlight):
        timed, needs_start = True, False

        def __call__(self, node):
            return self

        def started(self, *, now, cost):
            """Take no note."""

        def finished(self, completion, /):
            told.append("end")

        def value(self, *, now):
            return 0.0

        def answering(self, *, now, cost):
            told.append("answer")

    def clock():
        if ending:
            ending.pop().release(Outcome.CANCELLED)
        return 1.0

    told, ending = [], []
    lb = LoadBalancer(["a"], load=Load(), health=None, clock=clock)
    with lb.acquire() as lease:
        lease.first_byte()
    assert told == ["answer", "end"]
    told.clear()
    lease = lb.acquire()
    ending.append(lease)
    lease.first_byte()
    assert told == ["end"]
