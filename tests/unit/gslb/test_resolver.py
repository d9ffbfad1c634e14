"""A resolver's cache: what it keeps, for which clients, and for how long."""

from __future__ import annotations

from random import Random

import pytest

from balancekit.errors import ConfigurationError
from balancekit.gslb import Answer, Client, Query, ResolverCache, stale_share

A = Answer(("a",), ttl=30.0, scope=20)
B = Answer(("b",), ttl=30.0, scope=24)


def query(subnet=None, kind="A", name="www"):
    """Return a query of one resolver."""
    return Query(name=name, kind=kind, client=Client(address="192.0.2.53", subnet=subnet))


def test_an_answer_holds_for_its_scope_and_for_none_outside():
    """An answer holds for any subnet inside its scope, and for none beside it, nor for another name or type."""
    cache = ResolverCache()
    cache.store(query("198.51.100.0/24"), A, now=0.0)
    assert cache.look_up(query("198.51.96.0/32"), now=1.0).chosen == ("a",)
    assert cache.look_up(query("198.51.112.0/24"), now=1.0) is None
    assert cache.look_up(query("198.51.100.0/24", kind="AAAA"), now=1.0) is None
    assert cache.look_up(query("198.51.100.0/24", name="api"), now=1.0) is None
    assert cache.look_up(query("198.51.100.0/24", name="WWW."), now=1.0).chosen == ("a",)


def test_the_longest_scope_wins():
    """The longest scope wins, so that clients inside a narrower answer get that one."""
    cache = ResolverCache()
    cache.store(query("198.51.100.0/24"), A, now=0.0)
    cache.store(query("198.51.101.0/24"), B, now=0.0)
    assert cache.look_up(query("198.51.101.9/32"), now=1.0).chosen == ("b",)
    assert cache.look_up(query("198.51.100.9/32"), now=1.0).chosen == ("a",)


def test_a_scope_is_cut_to_what_the_resolver_sends():
    """A /26 answer to a /24 query is kept for the /24: a longer map entry is never reached."""
    cache = ResolverCache()
    cache.store(query("198.51.100.7/32"), A._replace(scope=26), now=0.0)
    found = cache.look_up(query("198.51.100.200/32"), now=0.0)
    assert found.chosen == ("a",)
    assert found.scope == 24
    assert str(cache.upstream(query("198.51.100.7/32")).client.subnet) == "198.51.100.0/24"
    assert str(cache.upstream(query("2001:db8:1:2::7/128")).client.subnet) == "2001:db8:1::/56"
    assert cache.upstream(query()) == query()


def test_an_answer_to_a_wide_subnet_is_for_that_subnet_alone():
    """If its scope is longer than the subnet that asked, it is of no smaller one inside; nor does a wider subnet get what a narrower one was told."""
    cache = ResolverCache()
    cache.store(query("198.51.96.0/20"), B, now=0.0)
    assert cache.look_up(query("198.51.96.0/20"), now=1.0).scope == 24
    assert cache.look_up(query("198.51.96.0/24"), now=1.0) is None
    cache.store(query("203.0.0.0/24"), B, now=0.0)
    assert cache.look_up(query("203.0.0.0/16"), now=1.0) is None
    cache.store(query("203.0.0.0/16"), A, now=0.0)
    assert cache.look_up(query("203.0.0.0/16"), now=1.0).chosen == ("a",)
    assert cache.look_up(query("203.0.0.0/32"), now=1.0).chosen == ("b",)


def test_answers_without_a_subnet_are_kept_apart():
    """Answers without a subnet are kept apart from those with one. /0 counts as none."""
    cache = ResolverCache()
    cache.store(query("198.51.100.0/24"), A._replace(scope=0), now=0.0)
    assert cache.look_up(query(), now=0.0) is None
    assert cache.look_up(query("10.0.0.0/8"), now=0.0).chosen == ("a",)
    cache.store(query(), B, now=0.0)
    assert cache.look_up(query("0.0.0.0/0"), now=0.0).chosen == ("b",)


def test_a_ttl_counts_down_and_ends():
    """A TTL counts down within its limits. An expired answer is found only as a stale one, for a while."""
    cache = ResolverCache(min_ttl=10.0, max_ttl=20.0, stale=5.0)
    cache.store(query(), A, now=100.0)
    assert cache.look_up(query(), now=105.0).ttl == 15.0
    assert cache.look_up(query(), now=120.0) is None
    assert cache.look_up_stale(query(), now=124.9).ttl == 0.0
    assert cache.look_up_stale(query(), now=125.0) is None
    cache.store(query(), A._replace(ttl=1.0), now=200.0)
    assert cache.look_up(query(), now=209.0).ttl == 1.0
    assert cache.expire(now=214.9) == 1
    assert cache.expire(now=215.0) == 0


def test_names_that_expired_leave_nothing():
    """A name whose answers have expired takes no memory after ``expire``; other subnets of a name stay."""
    cache = ResolverCache()
    for number in range(100):
        for asked in (query(), query("10.0.0.0/24")):
            cache.store(asked.replace(name=f"n{number}"), A._replace(ttl=1.0), now=float(number))
        assert cache.expire(now=float(number) + 0.5) == 2
    cache.store(query("10.0.0.0/24"), A._replace(ttl=1.0, scope=24), now=100.0)
    cache.store(query("10.0.1.0/24"), A._replace(ttl=9.0, scope=24), now=100.0)
    assert cache.expire(now=105.0) == 1
    assert [len(cache._plain), len(cache._scoped)] == [0, 1]
    assert cache.look_up(query("10.0.1.0/24"), now=105.0) is not None
    assert cache.expire(now=109.0) == 0
    assert not cache._scoped


def test_the_stale_share_of_caches_is_one_minus_t_over_ttl():
    """The stale share of 10 000 caches at uniform phases is within 0.02 of 1 - t / TTL."""
    rng = Random(5)
    ttl = 30.0
    caches = []
    for _ in range(10_000):
        cache = ResolverCache()
        cache.store(query(), A._replace(ttl=ttl), now=-rng.random() * ttl)
        caches.append(cache)
    for second in range(0, 34, 3):
        stale = sum(cache.look_up(query(), now=float(second)) is not None for cache in caches) / len(caches)
        assert abs(stale - stale_share(float(second), ttl)) <= 0.02


@pytest.mark.parametrize(
    ("options", "parameter"),
    [({"prefix4": 33}, "prefix4"), ({"min_ttl": 5, "max_ttl": 1}, "min_ttl"), ({"stale": -1}, "stale")],
)
def test_a_wrong_argument_is_named(options, parameter):
    """A wrong argument is refused at construction by an error that names the parameter."""
    with pytest.raises(ConfigurationError) as caught:
        ResolverCache(**options)
    assert caught.value.parameter == parameter


def test_an_answer_that_nothing_bounds_is_kept_for_the_longest_time():
    """An infinite TTL, which policies give when nothing can change, is cut to ``max_ttl`` like any other."""
    cache = ResolverCache(max_ttl=60.0)
    query = Query(name="www", client=Client(address="192.0.2.53"))
    cache.store(query, Answer(("a",)), now=0.0)
    assert cache.look_up(query, now=10.0) == Answer(("a",), ttl=50.0)
    assert cache.look_up(query, now=60.0) is None
