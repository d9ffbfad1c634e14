"""nginx's rules, one by one, also where no recorded trace goes."""

from __future__ import annotations

import zlib
from collections import Counter
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.oracles.models import nginx_smooth

from balancekit import ConfigurationError, Endpoint, LeaseError, LoadBalancer, Outcome, UnknownEndpointError
from balancekit.compat.nginx import (
    AsNginx,
    ConsistentHash,
    Hash,
    IpHash,
    LeastConn,
    RoundRobin,
    Server,
    Upstream,
)
from balancekit.compat.nginx import Random as Drawn
from balancekit.compat.nginx._methods import ring
from balancekit.compat.nginx._peers import Group, Peer
from balancekit.testing import ManualClock, Z, chi_square_z, share_z

METHODS = [RoundRobin(), LeastConn(), IpHash(), Hash(), ConsistentHash(), Drawn(), Drawn(two=True)]


def servers(*weights, **facts):
    """Return servers a, b, c..."""
    return [
        Server(name=name, weight=weight, **facts) for name, weight in zip("abcdefgh", weights, strict=False)
    ]


def run(upstream, count, key="", now=0.0):
    """Send requests that end at once; return who got them."""
    return "".join(upstream.request(key).get(now=now) or "-" for _ in range(count))


@given(st.lists(st.integers(1, 9), min_size=1, max_size=6))
def test_round_robin_is_smooth(weights):
    """Round robin has the credits that nginx counts."""
    order = run(Upstream(servers(*weights)), 2 * sum(weights))
    assert ["abcdef".index(name) for name in order] == nginx_smooth(weights, 2 * sum(weights))


def test_a_failure_costs_weight_which_comes_back_one_by_one():
    """A failure costs a server weight // max_fails, and one comes back each turn that it is passed over."""
    upstream = Upstream(servers(4, 1, max_fails=2, fail_timeout=10))
    request = upstream.request()
    assert request.next(now=0) == "a"
    request.failed(now=0)
    assert request.next(now=0) == "b"
    request.succeeded()
    (a, b) = upstream._groups[0].peers
    assert a.effective == 2
    assert run(upstream, 3).count("a") >= 1
    assert a.effective == 4
    assert b.effective == 1


def test_a_server_is_out_while_its_window_lasts_and_the_second_after_is_in():
    """A server is out while now - checked <= fail_timeout, and in a second later."""
    upstream = Upstream(servers(1, 1, max_fails=1, fail_timeout=5))
    request = upstream.request()
    bad = request.next(now=10)
    request.failed(now=10)
    assert bad not in run(upstream, 6, now=15)
    assert bad in run(upstream, 6, now=16)


def test_a_success_inside_the_window_forgets_nothing():
    """A success inside the window forgets nothing. Failures before and after it add up to ``max_fails``."""
    upstream = Upstream(servers(1, 1, max_fails=2, fail_timeout=10))

    def use(fail):
        while True:
            request = upstream.request()
            if request.next(now=0) == "a":
                break
            request.succeeded()
        if fail:
            request.failed(now=0)
        else:
            request.succeeded()

    use(fail=True)
    use(fail=False)
    use(fail=True)
    assert "a" not in run(upstream, 10)


def test_attempts_go_elsewhere_until_all_have_been_tried():
    """Attempts go elsewhere until all servers that are not down have been tried, and then the answer is 502."""
    upstream = Upstream([*servers(1, 1, 1), Server(name="x", down=True), Server(name="z", backup=True)])
    request = upstream.request()
    while (name := request.next(now=0)) is not None:
        assert not request.last or name == "z"
        request.failed(now=0)
    assert sorted(request.tried) == ["a", "b", "c", "z"]
    assert request.next(now=0) is None


def test_no_more_attempts_than_servers_whatever_tries_says():
    """``proxy_next_upstream_tries`` is an upper bound, also for a single server, which would always be tried."""
    request = Upstream(servers(1), tries=3).request()
    assert request.next(now=0) == "a"
    assert request.last
    request.failed(now=0)
    assert request.next(now=0) is None


def test_a_listed_404_asks_the_next_server_and_blames_none():
    """A listed 404 asks the next server, and the server that it came from stays in."""
    upstream = Upstream(servers(1, 1, max_fails=1))
    for _ in range(3):
        request = upstream.request()
        tried = [request.next(now=0)]
        request.succeeded()
        tried.append(request.next(now=0))
        request.succeeded()
        assert sorted(tried) == ["a", "b"]


@pytest.mark.parametrize(("options", "attempts"), [({"tries": 2}, 2), ({"next_upstream": False}, 1)])
def test_fewer_attempts_if_told_so(options, attempts):
    """``proxy_next_upstream_tries`` and ``off`` make fewer attempts."""
    request = Upstream(servers(1, 1, 1, 1), **options).request()
    while request.next(now=0) is not None:
        request.failed(now=0)
    assert len(request.tried) == attempts


def test_more_tries_than_servers_make_no_more_attempts():
    """With three servers and five tries the third attempt is the last one, so that its bad answer is passed on."""
    request = Upstream(servers(1, 1, 1), tries=5).request()
    lasts = []
    for _ in range(3):
        request.next(now=0)
        lasts.append(request.last)
        request.failed(now=0)
    assert lasts == [False, False, True]
    assert request.next(now=0) is None


def test_an_attempt_that_was_no_failure_may_be_followed_by_another():
    """After 403 and 404 that ``proxy_next_upstream`` lists: the next server is tried, and nothing is counted."""
    upstream = Upstream(servers(1, 1, max_fails=1))
    request = upstream.request()
    assert request.next(now=0) == "a"
    request.succeeded()
    assert request.next(now=0) == "b"
    request.succeeded()
    assert request.next(now=0) is None
    assert sorted(run(upstream, 4)) == ["a", "a", "b", "b"]


def test_the_host_of_a_unix_socket_on_the_ring_is_its_path():
    """``unix:/run/a.sock`` and a server of that path without a port have the same points; digits behind a colon are a port."""
    labels = ("unix:/run/a.sock", "/run/a.sock", "UNIX:/run/a.sock", "h:80", "h:8o")
    first = [ring(Group([Peer(Server(name="a", address=label))]))[0][0] for label in labels]
    assert first[0] == first[1] == first[2]
    base = zlib.crc32(b"80", zlib.crc32(b"h\0"))
    assert zlib.crc32(bytes(4), base) in ring(Group([Peer(Server(name="a", address="h:80"))]))[0]
    assert (
        zlib.crc32(bytes(4), zlib.crc32(b"h:8o\0"))
        in ring(Group([Peer(Server(name="a", address="h:8o"))]))[0]
    )


def test_the_first_of_two_draws_counts_as_a_miss():
    """With weights 20 and 1, the first of two draws counts as a miss.

    Smooth round robin decides after 21 draws, and the light one gets 0.611.
    """
    upstream = Upstream(servers(20, 1), Drawn(two=True), rng=Random(11))
    count = 40_000
    light = run(upstream, count).count("b")
    share = (
        20 / 21 - (20 / 21) ** 22
    )  # a heavy one and then a light one, or 21 heavy ones and the light one's turn
    assert abs(light / count - share) < Z * (share * (1 - share) / count) ** 0.5


def test_the_only_server_is_never_blamed():
    """Failures of a single server are not counted; with a backup they are."""
    alone = Upstream(servers(1, max_fails=1))
    for _ in range(5):
        request = alone.request()
        assert request.next(now=0) == "a"
        request.failed(now=0)
    guarded = Upstream([*servers(1, max_fails=1), Server(name="z", backup=True)])
    request = guarded.request()
    assert request.next(now=0) == "a"
    request.failed(now=0)
    assert request.next(now=0) == "z"
    request.succeeded()
    assert run(guarded, 3) == "zzz"


@pytest.mark.parametrize("method", METHODS, ids=repr)
def test_max_conns_and_down_are_kept_by_every_method(method):
    """A full or down server gets nothing by any method, whatever the hash says."""
    pool = [Server(name="a", max_conns=1), Server(name="b", weight=9, down=True), Server(name="c", weight=2)]
    upstream = Upstream(pool, method, rng=Random(1))
    upstream.hold("a")
    for number in range(60):
        key = bytes([number, 1, 2]) if isinstance(method, IpHash) else f"key-{number}"
        assert run(upstream, 1, key) == "c"
    upstream.hold("c", 0)
    upstream.hold("a", -1)
    assert upstream.connections == {"a": 0, "b": 0, "c": 0}


def test_least_conn_compares_per_weight_and_turns_among_ties_only():
    """Least_conn compares requests per weight, and a unique minimum moves no turn."""
    upstream = Upstream(servers(3, 1, 1), LeastConn())
    upstream.hold("b")
    upstream.hold("a", 2)
    assert run(upstream, 5) == "ccccc"
    upstream.hold("c")
    upstream.hold("a")
    assert Counter(run(upstream, 50)) == {"a": 30, "b": 10, "c": 10}


@given(st.binary(min_size=1, max_size=12), st.lists(st.integers(1, 5), min_size=2, max_size=6))
@settings(max_examples=60)
def test_hashes_are_the_same_for_the_same_key(key, weights):
    """The same key has the same server, and after a failure another one."""
    for method in (Hash(), ConsistentHash()):
        upstream = Upstream(servers(*weights, max_fails=0), method)
        assert len(set(run(upstream, 4, key))) == 1
        request = upstream.request(key)
        first = request.next(now=0)
        request.failed(now=0)
        assert request.next(now=0) != first
        request.succeeded()


def test_the_consistent_ring_moves_only_what_it_must():
    """Without server c, keys of a and b stay on the consistent ring."""
    keys = [f"k{number}" for number in range(500)]
    three, two = Upstream(servers(1, 1, 1), ConsistentHash()), Upstream(servers(1, 1), ConsistentHash())
    before = [run(three, 1, key) for key in keys]
    after = [run(two, 1, key) for key in keys]
    assert all(b == a for b, a in zip(before, after, strict=True) if b != "c")
    assert "c" in before


@pytest.mark.parametrize("method", [Hash(), ConsistentHash()], ids=repr)
def test_an_empty_key_takes_turns(method):
    """An empty key takes turns, as if there were no hash."""
    assert run(Upstream(servers(5, 1, 1), method), 7) == "aabacaa"


def test_random_draws_by_weight():
    """``random`` draws by weight, and of two the second wins a tie."""
    counts = Counter(run(Upstream(servers(5, 1, 2), Drawn(), rng=Random(2)), 4_000))
    assert chi_square_z(counts, {"a": 5, "b": 1, "c": 2}) < Z
    upstream = Upstream(servers(1, 1, 1), Drawn(two=True), rng=Random(3))
    upstream.hold("a")
    hits = Counter(run(upstream, 4_000))
    assert hits["a"] == 0
    assert abs(share_z(hits["b"], 4_000, 0.5)) < Z


WRONG = [
    ("name", lambda: Server(name="")),
    ("weight", lambda: Server(name="a", weight=0)),
    ("weight", lambda: Server(name="a", weight=1.5)),
    ("max_fails", lambda: Server(name="a", max_fails=-1)),
    ("fail_timeout", lambda: Server(name="a", fail_timeout=float("nan"))),
    ("max_conns", lambda: Server(name="a", max_conns=True)),
    ("down", lambda: Server(name="a", down=1)),
    ("servers", lambda: Upstream([])),
    ("servers", lambda: Upstream(["a"])),
    ("servers", lambda: Upstream([Server(name="a"), Server(name="a")])),
    ("servers", lambda: Upstream([Server(name="a", backup=True)])),
    ("method", lambda: Upstream([Server(name="a")], "least_conn")),
    ("method", lambda: AsNginx("least_conn")),
    ("tries", lambda: Upstream([Server(name="a")], tries=-1)),
    ("next_upstream", lambda: Upstream([Server(name="a")], next_upstream=1)),
    ("two", lambda: Drawn(two=2)),
    ("key", lambda: Upstream([Server(name="a")]).request(5)),
    ("address", lambda: IpHash.key_of("10.0.0")),
]


@pytest.mark.parametrize(("parameter", "make"), WRONG)
def test_wrong_values_are_refused(parameter, make):
    """Each wrong value raises ConfigurationError, which names the parameter."""
    with pytest.raises(ConfigurationError) as caught:
        make()
    assert caught.value.parameter == parameter


def test_steps_out_of_order_are_refused():
    """A request has at most one attempt under way, and steps out of order are refused."""
    upstream = Upstream(servers(1, 1))
    request = upstream.request()
    with pytest.raises(LeaseError, match="no attempt"):
        request.succeeded()
    request.next(now=0)
    with pytest.raises(LeaseError, match="in progress"):
        request.next(now=0)
    with pytest.raises(UnknownEndpointError, match="'z'"):
        upstream.hold("z")


class TestSelector:
    """In a LoadBalancer."""

    def make(self, method=None, clock=None):
        """Make a balancer over a (weight 5), b and c."""
        pool = [Endpoint("a", weight=5), Endpoint("b"), Endpoint("c")]
        return LoadBalancer(pool, selector=AsNginx(method), health=None, clock=clock or ManualClock())

    def test_failures_of_leases_take_a_server_out_as_in_nginx(self):
        """One failed lease takes a server out for ten seconds, as in nginx."""
        clock = ManualClock()
        balancer = self.make(clock=clock)
        balancer.acquire().release(Outcome.FAILURE)
        assert "a" not in {balancer.explain().picked for _ in range(10)}
        clock.advance(11.0)
        assert "a" in {balancer.explain().picked for _ in range(10)}

    def test_a_selector_picks_one_even_when_all_have_failed(self):
        """A selector picks a server even when all have failed, where nginx answers 502."""
        balancer = self.make()
        for _ in range(3):
            balancer.acquire().release(Outcome.FAILURE)
        assert balancer.explain().picked in {"a", "b", "c"}

    def test_keys_lie_where_they_lie_in_nginx(self):
        """Each key has the owner of nginx's upstream block."""
        balancer = self.make(ConsistentHash())
        upstream = Upstream(servers(5, 1, 1), ConsistentHash())
        for number in range(100):
            assert balancer.explain(f"k{number}").picked == run(upstream, 1, f"k{number}")
