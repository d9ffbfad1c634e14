"""HAProxy's rules, one by one, also where no recorded trace goes."""

from __future__ import annotations

import zlib
from collections import Counter
from itertools import pairwise
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from balancekit import ConfigurationError, LeaseError, UnknownEndpointError
from balancekit.compat.haproxy import (
    HASHES,
    Backend,
    Balance,
    Check,
    Checker,
    Header,
    Sample,
    Server,
    Source,
    State,
    Uri,
    UrlParam,
    avalanche,
    slow_start,
)
from balancekit.testing import Z, chi_square_z

METHODS = [
    Balance(),
    Balance(method="static-rr"),
    Balance(method="leastconn"),
    Balance(method="first"),
    Balance(method="random"),
    Balance(method="hash", by=Header()),
    Balance(method="hash", by=Header(), consistent=True),
    Balance(method="hash", by=Header(), consistent=True, balance_factor=150),
]


def servers(*weights, **facts):
    """Return servers a, b, c..."""
    return [
        Server(name=name, weight=weight, **facts) for name, weight in zip("abcdefgh", weights, strict=False)
    ]


def run(backend, count, value=None):
    """Send requests that end at once; return who got them."""
    return "".join(backend.get(value) or "-" for _ in range(count))


class TestHashes:
    """The functions and the mixer."""

    def test_published_values(self):
        """djb2, sdbm and crc32 give the published values, and the empty key is each function's start."""
        assert HASHES["djb2"](b"a") == 5381 * 33 + 97
        assert HASHES["sdbm"](b"ab") == (98 + 97 * 65599) % 2**32
        assert HASHES["crc32"](b"balancekit") == zlib.crc32(b"balancekit")
        assert [HASHES[name](b"") for name in ("sdbm", "djb2", "crc32")] == [0, 5381, 0]
        assert HASHES["wt6"](b"") == 0xA53C965A ^ 0x5CA6953A

    @given(st.binary(max_size=30))
    def test_all_are_of_32_bits(self, data):
        """All hashes are of 32 bits, whatever the key."""
        for function in HASHES.values():
            assert 0 <= function(data) < 2**32
            assert 0 <= avalanche(function(data)) < 2**32

    def test_the_mixer_is_a_bijection_on_what_it_mixes(self):
        """No two of a million neighbours collide in the mixer, as every step can be undone."""
        assert len({avalanche(number) for number in range(100_000)}) == 100_000


class TestKeys:
    """What of a request is hashed."""

    @pytest.mark.parametrize(
        ("by", "value", "hashed"),
        [
            (Header(), "x y", b"x y"),
            (UrlParam(), "v&other=1", b"v"),
            (Header(), "a , b", b"a"),
            (Header(), '"a,b",c', b'"a,b"'),
            (Header(), "", None),
            (Header(), ",x", None),
            (Header(), b"\xe9,x", b"\xe9"),
            (Header(use_domain_only=True), "www.shop.test", b"shop"),
            (Header(use_domain_only=True), "shop.test:80", b"shop"),
            (Header(use_domain_only=True), "localhost", b"localhost"),
            (Header(use_domain_only=True), ".com", b".com"),
            (Header(use_domain_only=True), "x..y", b"x."),
            (Header(use_domain_only=True), "a.b,c.d", b"a"),
            (Sample(), "a, b", b"a, b"),
            (UrlParam(), "", b""),
            (Uri(), "http://h/a?b", b"http://h/a"),
            (Uri(path_only=True), "http://h/a/b?c", b"/a/b"),
            (Uri(path_only=True, depth=1), "/a/b?c", b"/a"),
            (Uri(), "/a/b?c=d", b"/a/b"),
            (Uri(whole=True), "/a/b?c=d", b"/a/b?c=d"),
            (Uri(length=3), "/abcd?e", b"/ab"),
            (Uri(depth=1), "/a/b/c", b"/a"),
            (Uri(depth=2), "/a/", b"/a/"),
            (Uri(depth=9), "/a?/b", b"/a"),
            (Source(), "10.1.2.3", 0x0A010203),
            (Source(), "::1", 1),
            (Source(), b"10.1.2.3", 0x0A010203),
        ],
    )
    def test_the_part_that_counts(self, by, value, hashed):
        """The words after ``balance`` say which part of a target is hashed."""
        assert by.of(value) == hashed

    def test_the_mixer_is_on_for_a_bare_consistent_only(self):
        """The mixer is on for a bare ``consistent``, and off if a function is named without it."""
        bare = Balance(method="hash", by=Header(), consistent=True)
        named = bare.replace(function="sdbm")
        assert bare.hash_of("k") == avalanche(HASHES["sdbm"](b"k"))
        assert named.hash_of("k") == HASHES["sdbm"](b"k")
        assert named.replace(avalanche=True).hash_of("k") == bare.hash_of("k")
        assert Balance(method="hash", by=Header()).hash_of("k") == HASHES["sdbm"](b"k")

    def test_an_address_needs_no_hash_function(self):
        """An address is hashed by the mixer only, if it is on."""
        assert Balance(method="hash", by=Source()).hash_of("10.1.2.3") == 0x0A010203


@pytest.mark.parametrize("balance", METHODS, ids=repr)
class TestEveryMethod:
    """What holds whatever the method."""

    def test_drained_and_maintained_servers_get_nothing_new(self, balance):
        """Drained and maintained servers get nothing new until they are ready again."""
        backend = Backend(servers(1, 2, 3), balance, rng=Random(1))
        backend.set_state("a", "drain")
        backend.set_state("c", State.MAINT)
        assert run(backend, 20, "key") == "b" * 20
        backend.set_state("b", "maint")
        assert run(backend, 2, "key") == "--"
        for name in "abc":
            backend.set_state(name, "ready")
        assert "-" not in run(backend, 20, "key")

    def test_a_command_that_changes_nothing_leaves_everything(self, balance):
        """A command that changes nothing leaves the order as it was."""
        quiet, told = (Backend(servers(3, 2, 1), balance, rng=Random(1)) for _ in range(2))
        order = run(quiet, 30)
        picked = ""
        for number in range(30):
            told.set_state("abc"[number % 3], "ready")
            told.set_weight("abc"[number % 3], (3, 2, 1)[number % 3])
            picked += run(told, 1)
        assert picked == order

    def test_backups_serve_only_when_no_other_can(self, balance):
        """If no other server can serve, the first backup does, or all with ``allbackups``."""
        pool = [*servers(1, 1), Server(name="x", backup=True), Server(name="y", backup=True)]
        backend = Backend(pool, balance, rng=Random(1))
        assert set(run(backend, 20, "key")) <= {"a", "b"}
        backend.set_state("a", "maint")
        backend.set_state("b", "maint")
        assert run(backend, 5, "key") == "xxxxx"
        backend.set_state("x", "maint")
        assert run(backend, 5, "key") == "yyyyy"
        every = Backend(pool, balance, allbackups=True, rng=Random(1))
        for name in "ab":
            every.set_state(name, "maint")
        held = [every.request(f"key-{number}") for number in range(40)]
        expected = {"x"} if balance.method == "first" else {"x", "y"}
        assert {request.server for request in held} == expected

    def test_in_progress_adds_up(self, balance):
        """Under any history, requests in progress add up, and no server is over its limit."""
        backend = Backend(servers(1, 2, 3, maxconn=3), balance, rng=Random(2))
        rng, held = Random(3), []
        for number in range(400):
            if held and rng.random() < 0.5:
                held.pop(rng.randrange(len(held))).done()
            else:
                held.append(backend.request(f"key-{number % 17}"))
            assert sum(backend.served.values()) == sum(request.server is not None for request in held)
            assert max(backend.served.values()) <= 3
        while held:
            held.pop().done()
        assert set(backend.served.values()) == {0}


@given(st.lists(st.integers(1, 12), min_size=1, max_size=6))
@settings(max_examples=50)
def test_round_robin_gives_each_its_weight(weights):
    """Over many rounds, round robin gives each server its weight within two turns."""
    backend = Backend(servers(*weights))
    total = sum(weights)
    counts = Counter(run(backend, 20 * total))
    for name, weight in zip("abcdef", weights, strict=False):
        assert abs(counts[name] - 20 * weight) <= 2


@given(st.lists(st.integers(1, 12), min_size=1, max_size=6))
def test_static_round_robin_gives_each_exactly_its_weight(weights):
    """Over one walk of the table each server is picked exactly as often as its weight."""
    counts = Counter(run(Backend(servers(*weights), Balance(method="static-rr")), sum(weights)))
    assert counts == dict(zip("abcdef", weights, strict=False))


def test_static_round_robin_walks_on_from_the_active_servers_into_the_backups():
    """There is one walk: two picks of the active server leave it at the second slot of the backups."""
    spare = [Server(name=name, backup=True) for name in "xyz"]
    backend = Backend([*servers(3), *spare], Balance(method="static-rr"), allbackups=True)
    assert run(backend, 1) == "a"
    backend.set_state("a", State.MAINT)
    assert run(backend, 4) == "yzxy"


@pytest.mark.parametrize("balance", [Balance(method="static-rr"), Balance(method="hash", by=Header())])
def test_a_heavier_backup_takes_slots_meant_for_the_first_of_static_methods(balance):
    """Slots as the first backup's share, all backups in the deal: at three times the weight the other has them all."""
    for heavy, served in ((1, "x"), (9, "y")):
        spare = [Server(name="x", weight=3, backup=True), Server(name="y", weight=heavy, backup=True)]
        backend = Backend([Server(name="a", weight=1), *spare], balance)
        backend.set_state("a", State.MAINT)
        assert {backend.get(key) for key in ("1", "22", "333", "4444")} == {served}


def test_a_static_method_takes_only_all_or_nothing_of_its_weight():
    """A static method takes all or nothing of a weight; the error says what it would take."""
    backend = Backend(servers(4, 1), Balance(method="static-rr"))
    with pytest.raises(ConfigurationError, match="0 or 4"):
        backend.set_weight("a", 2)
    backend.set_share("a", 0.0)
    assert run(backend, 3) == "bbb"
    backend.set_share("a", 1.0)
    assert Counter(run(backend, 5)) == {"a": 4, "b": 1}


def test_a_share_is_of_the_configured_weight():
    """``set weight 50%`` gives a server half of its configured weight."""
    backend = Backend(servers(100, 100))
    backend.set_share("a", 0.5)
    assert Counter(run(backend, 300))["a"] == pytest.approx(100, abs=2)


def test_idle_servers_take_turns_under_leastconn_whatever_their_weights():
    """Under ``leastconn``, idle servers take turns whatever their weights, and requests in progress count by weight."""
    backend = Backend(servers(9, 1, 1), Balance(method="leastconn"))
    assert run(backend, 6) == "abcabc"
    held = Counter(backend.request().server for _ in range(44))
    assert held == {"a": 36, "b": 4, "c": 4}


def test_consistent_hashing_moves_only_what_it_must():
    """Out of maintenance everything is as before; in it, only its own keys move."""
    backend = Backend(servers(1, 2, 3), Balance(method="hash", by=Header(), consistent=True))
    keys = [f"k{number}" for number in range(400)]
    before = [backend.get(key) for key in keys]
    backend.set_state("b", "maint")
    during = [backend.get(key) for key in keys]
    backend.set_state("b", "ready")
    assert [backend.get(key) for key in keys] == before
    assert all(old == new for old, new in zip(before, during, strict=True) if old != "b")
    assert "b" in before
    assert "b" not in during


def test_the_nearest_node_wins_and_the_one_before_on_a_tie():
    """The nearest node wins, and on a tie the one before."""
    backend = Backend(servers(1, 1, 1), Balance(method="hash", by=Header(), consistent=True))
    ring = backend._active[1]
    keys, owners = ring._keys, ring._owners
    ties = [
        place
        for place in range(len(keys) - 1)
        if (keys[place + 1] - keys[place]) % 2 == 0 and owners[place] is not owners[place + 1]
    ]
    assert ties
    for place in ties:
        middle = (keys[place] + keys[place + 1]) // 2
        assert ring.find(middle, None) is owners[place]
        assert ring.find(middle + 1, None) is owners[place + 1]


def test_the_balance_factor_caps_a_hot_key():
    """With all requests for one key, no server gets more than the balance factor times its share."""
    backend = Backend(
        servers(1, 1, 1, 1), Balance(method="hash", by=Header(), consistent=True, balance_factor=125)
    )
    held = [backend.request("hot") for _ in range(400)]
    assert max(backend.served.values()) <= 125
    assert len(held) == 400


def test_the_balance_factor_cumulates_weights_once():
    """The balance factor deals out shares along the weights of the start, whatever has gone since."""
    balance = Balance(method="hash", by=Header(), consistent=True, balance_factor=120)
    backend = Backend(servers(1, 2, 3), balance)
    backend.set_state("a", "maint")
    backend.set_weight("b", 7)
    group = backend._active[0]
    assert [member.before for member in group.members] == [0, 16, 48]


def test_draws_keep_to_the_balance_factor():
    """With 300 requests held on one draw, none has more than the balance factor times its part.

    Without the factor one has.
    """
    most = []
    for factor in (101, 0):
        balance = Balance(method="random", draws=1, balance_factor=factor)
        backend = Backend(servers(1, 1, 1), balance, rng=Random(3))
        for _ in range(300):
            backend.request()
        most.append(max(backend.served.values()))
    assert most[0] <= 101 < most[1]


def test_ids_of_their_own_are_not_given_twice():
    """A server without an id gets the least free one from its number on: places on the ring depend on it."""
    mixed = Backend(
        [Server(name="a", id=2), Server(name="b"), Server(name="c", id=5), Server(name="d"), Server(name="e")]
    )
    assert [member.id for member in mixed._members.values()] == [2, 3, 5, 6, 7]


def test_heavier_backups_get_slots_of_static_methods():
    """The table has as many slots as the first backup's weight; of a hash, slot 0 counts, but for a parameter."""
    pool = [
        Server(name="a"),
        Server(name="b", weight=2, backup=True),
        Server(name="c", weight=6, backup=True),
    ]
    backend = Backend(pool, Balance(method="static-rr"))
    backend.set_state("a", "maint")
    assert run(backend, 4) == "cccc"
    hashed = Backend(
        [*pool[:2], Server(name="c", weight=3, backup=True)], Balance(method="hash", by=Header())
    )
    hashed.set_state("a", "maint")
    assert {hashed.get(f"k{n}") for n in range(50)} == {"b"}
    parameter = Backend(
        [*pool[:2], Server(name="c", weight=3, backup=True)], Balance(method="hash", by=UrlParam())
    )
    parameter.set_state("a", "maint")
    assert {parameter.get(f"k{n}") for n in range(50)} == {"b", "c"}


def test_the_walk_goes_on_behind_nodes_that_have_gone():
    """If the node of the last turn goes, the next one is passed over; a lone server takes no turns."""
    backend = Backend(servers(2, 2, 2), Balance(method="hash", by=Header(), consistent=True))
    nodes = "".join(member.server.name for member in backend._active[1]._owners)
    assert run(backend, 4) == nodes[:4] == "ccca"
    backend.set_state("a", "maint")
    assert run(backend, 4) == nodes[5:].replace("a", "")[:4]
    backend.set_state("b", "maint")
    assert run(backend, 9) == "c" * 9
    backend.set_state("b", "ready")
    stood = [at for at, name in enumerate(nodes) if at > 4 and name != "a"][3]
    assert nodes[stood] == "b"
    assert run(backend, 5) == nodes[nodes.index("c", stood) + 1 :].replace("a", "")[:5]


def test_random_follows_the_arcs():
    """With a uniform hash on the ring, shares of ``random`` are those of exact arcs, near the weights."""
    backend = Backend(servers(5, 1, 1), Balance(method="random", draws=1), rng=Random(5))
    counts = Counter(run(backend, 7_000))
    assert counts["a"] / 7_000 == pytest.approx(5 / 7, abs=0.1)
    best_of_two = Backend(servers(1, 1), Balance(method="random", draws=2), rng=Random(6))
    best_of_two.hold("a", 5)
    picks = Counter(run(best_of_two, 2_000))
    assert chi_square_z(picks, {"a": 1, "b": 1}) > Z


class TestCookies:
    """Clients bound to servers."""

    def make(self):
        """Two servers with cookies."""
        return Backend([Server(name="a", cookie="A"), Server(name="b", cookie="B")], cookies=True)

    def test_a_new_client_gets_a_cookie_a_known_one_does_not(self):
        """A new client gets a cookie; a known one gets none, and goes where its cookie says."""
        backend = self.make()
        first = backend.request()
        assert (first.server, first.set_cookie) == ("a", "A")
        again = backend.request(cookie="A")
        assert (again.server, again.set_cookie) == ("a", None)

    def test_draining_keeps_its_clients_maintenance_does_not(self):
        """A client that is moved gets another cookie; an unknown cookie is none."""
        backend = self.make()
        backend.set_state("a", "drain")
        assert backend.request(cookie="A").server == "a"
        assert backend.request().server == "b"
        backend.set_state("a", "maint")
        moved = backend.request(cookie="A")
        assert (moved.server, moved.set_cookie) == ("b", "B")
        assert backend.request(cookie="forged").server == "b"

    def test_a_server_without_a_value_removes_the_cookie(self):
        """The answer sets the empty value, whether or not the client had a cookie."""
        backend = Backend([Server(name="a", cookie="A"), Server(name="b")], cookies=True)
        assert [backend.request().set_cookie for _ in range(4)] == ["A", "", "A", ""]

    def test_an_answer_of_no_server_sets_no_cookie(self):
        """Of a request that was refused for good there is no cookie; of one that moved on there is that of its last server."""
        pool = [Server(name="a", cookie="A"), Server(name="b", cookie="B")]
        backend = Backend(pool, cookies=True, retries=1, redispatch=1)
        moved = backend.request()
        assert (moved.refused(), moved.set_cookie) == ("b", "B")
        assert (moved.refused(), moved.set_cookie) == (None, None)
        stays = Backend(pool, cookies=True, retries=1).request()
        assert (stays.refused(), stays.set_cookie) == ("a", "A")
        assert (stays.refused(), stays.set_cookie) == (None, None)

    def test_a_bound_request_waits_for_its_own_server(self):
        """A bound request waits for its own server, though another is free."""
        pool = [Server(name="a", cookie="A", maxconn=1), Server(name="b", cookie="B", maxconn=1)]
        backend = Backend(pool, cookies=True)
        serving = backend.request(cookie="A")
        waiting = backend.request(cookie="A")
        assert waiting.waiting
        assert waiting.server is None
        assert serving.done() == [waiting]
        assert waiting.server == "a"


class TestQueue:
    """All servers are full."""

    def test_the_oldest_gets_the_slot(self):
        """The oldest request that waits for a server gets its slot."""
        backend = Backend(servers(1, 1, maxconn=1), Balance(method="leastconn"))
        first, second = backend.request(), backend.request()
        waiting = [backend.request() for _ in range(3)]
        assert all(request.waiting for request in waiting)
        assert second.done() == waiting[:1]
        assert waiting[0].server == "b"
        waiting[1].done()  # it gives up
        assert first.done() == waiting[2:]
        assert waiting[2].server == "a"

    def test_the_one_that_has_waited_longest_is_served_whichever_queue_it_is_in(self):
        """A request in the queue of the backend comes before a later one in the server's own, and the other way round."""
        for first, second in ((None, "k"), ("k", None)):
            backend = Backend(servers(1, 1, maxconn=1), Balance(method="hash", by=Header()))
            served = [backend.request(), backend.request()]
            waiting = [backend.request(first), backend.request(second)]
            owner = next(r for r in served if r.member is backend.request("k").member)
            assert owner.done() == waiting[:1]
            assert waiting[0].done() == waiting[1:]

    def test_new_requests_wait_behind_those_that_wait_already(self):
        """With roundrobin, static-rr and first, new requests wait behind those that wait, although a server is free.

        leastconn and hashes go by the servers.
        """
        for method, waits in (
            ("roundrobin", True),
            ("static-rr", True),
            ("first", True),
            ("leastconn", False),
        ):
            backend = Backend(servers(1, 1, maxconn=1), Balance(method=method))
            backend.set_state("b", "drain")
            backend.request()
            assert backend.request().waiting
            assert backend.set_state("b", "ready") == []
            assert backend.request().waiting is waits

    def test_after_drain_and_weight_zero_who_waits_is_served_with_the_next_end(self):
        """After drain and weight zero, the next end serves those that wait, from all free slots.

        After maintenance they are served at once.
        """
        backend = Backend(servers(1, 1, maxconn=3), Balance(method="leastconn"))
        held = [backend.request() for _ in range(6)]
        backend.set_state("b", "maint")
        waiting = [backend.request() for _ in range(4)]
        backend.set_weight("a", 0)
        on_a = [request for request in held if request.server == "a"]
        assert [request.done() for request in on_a[:2]] == [[], []]
        assert backend.set_weight("a", 1) == []
        assert on_a[2].done() == waiting[:3]

    def test_a_backup_leaves_the_queue_to_active_servers(self):
        """A slot of a backup that gets free while an active server is usable stays free."""
        pool = [Server(name="a", maxconn=1), Server(name="b", maxconn=1, backup=True)]
        backend = Backend(pool)
        backend.set_state("a", "maint")
        on_backup = backend.request()
        assert on_backup.server == "b"
        backend.set_state("a", "ready")
        active, waiting = backend.request(), backend.request()
        assert on_backup.done() == []
        assert active.done() == [waiting]

    def test_with_redispatch_who_waits_for_a_server_leaves_it_when_it_goes(self):
        """Without ``option redispatch`` the request stays, and is served when a slot gets free."""
        for redispatch in (0, -1):
            pool = [Server(name="a", cookie="A", maxconn=1), Server(name="b", cookie="B")]
            backend = Backend(pool, cookies=True, redispatch=redispatch)
            serving, waiting = backend.request(cookie="A"), backend.request(cookie="A")
            assert backend.set_state("a", "maint") == ([waiting] if redispatch else [])
            assert waiting.server == ("b" if redispatch else None)
            assert serving.done() == ([] if redispatch else [waiting])

    def test_a_refused_request_frees_its_slot(self):
        """Who waits for the server gets it when the refused request moves on, and when it is given up."""
        for options in ({"retries": 0}, {"retries": 1, "redispatch": 1}):
            backend = Backend(
                [Server(name="a", cookie="A", maxconn=1), Server(name="b")], cookies=True, **options
            )
            refused, waiting = backend.request(cookie="A"), backend.request(cookie="A")
            assert refused.refused() == ("b" if options["retries"] else None)
            assert waiting.server == "a"

    def test_a_server_that_comes_back_takes_who_waits(self):
        """A server that comes back takes as many waiting requests as it has room for."""
        backend = Backend(servers(1, 1, maxconn=1))
        backend.set_state("b", "maint")
        backend.request()
        waiting = [backend.request() for _ in range(2)]
        assert backend.set_state("b", "ready") == waiting[:1]

    def test_a_server_without_a_limit_takes_waiting_requests_only_when_it_comes_back(self):
        """The end of a request on a server without ``maxconn`` leaves the queue as it is; its return empties the queue."""
        backend = Backend([Server(name="a", maxconn=1), Server(name="b")], Balance(method="leastconn"))
        backend.set_weight("b", 0)
        on_a = backend.request()
        waiting = [backend.request() for _ in range(3)]
        backend.set_weight("b", 1)
        on_b = backend.request()
        assert on_b.server == "b"
        assert on_b.done() == []
        assert on_a.done() == waiting[:1]
        backend.set_state("b", "maint")
        assert backend.set_state("b", "ready") == waiting[1:]


class TestRedispatch:
    """Refused connections."""

    def test_every_retry_goes_elsewhere(self):
        """With a redispatch interval of 1 every retry goes to another server."""
        request = Backend(servers(1, 1, 1), redispatch=1).request()
        tried = [request.server, request.refused(), request.refused()]
        assert all(one != other for one, other in pairwise(tried))

    @pytest.mark.parametrize(("method", "moves"), [("leastconn", True), ("hash", False)])
    def test_an_interval_above_the_retries_moves_what_nothing_bound(self, method, moves):
        """As with ``option redispatch 0``, every retry goes elsewhere unless a hash placed the request."""
        balance = Balance(method=method, by=Header()) if method == "hash" else Balance(method=method)
        request = Backend(servers(1, 1), balance, redispatch=1_000).request("key")
        assert (request.server != request.refused()) is moves

    def test_without_it_retries_stay(self):
        """Without redispatch, retries stay with their server, and end."""
        request = Backend(servers(1, 1), retries=2).request()
        assert [request.refused() for _ in range(3)] == ["a", "a", None]
        with pytest.raises(LeaseError):
            request.refused()

    @pytest.mark.parametrize("redispatch", [-1, 3])
    def test_a_hash_or_a_cookie_keeps_retries_until_the_interval(self, redispatch):
        """With a hash or a cookie for a server, only the retry at the interval goes to another: by default the last."""
        pool = [Server(name=name, cookie=name) for name in "ab"]
        hashed = Backend(
            pool, Balance(method="hash", by=Header(), consistent=True), retries=3, redispatch=redispatch
        )
        for request in (
            hashed.request("k"),
            Backend(pool, cookies=True, retries=3, redispatch=redispatch).request(cookie="a"),
        ):
            first = request.server
            assert [request.refused() == first for _ in range(3)] == [True, True, False]

    @pytest.mark.parametrize("method", ["roundrobin", "static-rr", "leastconn", "first", "random"])
    @pytest.mark.parametrize("redispatch", [-1, 2, 3])
    def test_without_either_every_retry_goes_elsewhere(self, method, redispatch):
        """Whatever the interval, a request that any server may take leaves one that refuses at once."""
        request = Backend(
            servers(1, 1, 1), Balance(method=method), retries=3, redispatch=redispatch
        ).request()
        tried = [request.server, *(request.refused() for _ in range(3))]
        assert all(one != other for one, other in pairwise(tried))

    @pytest.mark.parametrize("method", ["roundrobin", "leastconn"])
    def test_the_only_active_server_is_retried_until_the_interval(self, method):
        """A backup, or a server that takes no requests, is no other server to go to."""
        pool = [Server(name="a"), Server(name="b"), Server(name="c", backup=True)]
        backend = Backend(pool, Balance(method=method), retries=3, redispatch=2)
        backend.set_state("b", "maint")
        request = backend.request()
        assert request.server == request.refused() == "a"


class TestChecks:
    """Rise, fall, intervals, slow start."""

    def test_runs_and_what_clears_them(self):
        """One opposite result clears a run of checks."""
        checker = Checker(Check(inter=1.0, rise=2, fall=3))
        results = [False, False, True, False, False, False, True, False, True, True]
        changes = [checker.observe(passed=passed, now=float(k)) for k, passed in enumerate(results)]
        assert [k for k, changed in enumerate(changes) if changed] == [5, 9]
        assert checker.up

    def test_intervals_count_from_the_end_of_a_check(self):
        """Intervals count from the end of a check, fast while changing and its own while down."""
        checker = Checker(Check(inter=2.0, rise=2, fall=2, fastinter=0.1, downinter=5.0), now=0.0)
        pauses = []
        for passed in (True, False, False, True, True):
            now = checker.deadline + 0.5
            checker.observe(passed=passed, now=now)
            pauses.append(round(checker.deadline - now, 3))
        assert pauses == [2.0, 0.1, 5.0, 0.1, 2.0]

    @given(st.integers(1, 256), st.integers(1, 60))
    def test_slow_start_only_grows_and_ends_at_the_whole_weight(self, weight, seconds):
        """Slow start grows by a sixteenth at a time and ends at the whole weight."""
        steps = [slow_start(weight, seconds=seconds, elapsed=second) for second in range(seconds + 2)]
        assert steps == sorted(steps)
        assert steps[0] == weight
        assert steps[-1] == 16 * weight


WRONG = [
    ("name", lambda: Server(name="")),
    ("weight", lambda: Server(name="a", weight=257)),
    ("weight", lambda: Server(name="a", weight=1.0)),
    ("maxconn", lambda: Server(name="a", maxconn=-1)),
    ("id", lambda: Server(name="a", id=0)),
    ("cookie", lambda: Server(name="a", cookie=None)),
    ("backup", lambda: Server(name="a", backup=0)),
    ("method", lambda: Balance(method="fastest")),
    ("by", lambda: Balance(method="hash")),
    ("by", lambda: Balance(by=Header())),
    ("function", lambda: Balance(method="hash", by=Header(), function="md5")),
    ("balance_factor", lambda: Balance(method="hash", by=Header(), balance_factor=100)),
    ("draws", lambda: Balance(method="random", draws=0)),
    ("depth", lambda: Uri(depth=-1)),
    ("length", lambda: Uri(length=True)),
    ("key", lambda: Source().of("no address")),
    ("key", lambda: Source().of(bytes([10, 1, 2, 3]))),
    ("servers", lambda: Backend([])),
    ("servers", lambda: Backend(["a"])),
    ("servers", lambda: Backend([Server(name="a"), Server(name="a")])),
    ("servers", lambda: Backend([Server(name="a", id=2), Server(name="b", id=2)])),
    ("redispatch", lambda: Backend([Server(name="a")], retries=2, redispatch=-3)),
    ("use_domain_only", lambda: Header(use_domain_only=1)),
    ("path_only", lambda: Uri(path_only=None)),
    ("balance", lambda: Backend([Server(name="a")], "roundrobin")),
    ("retries", lambda: Backend([Server(name="a")], retries=-1)),
    ("state", lambda: Backend([Server(name="a")]).set_state("a", "gone")),
    ("weight", lambda: Backend([Server(name="a")]).set_weight("a", 300)),
    ("share", lambda: Backend([Server(name="a")]).set_share("a", -1)),
    ("value", lambda: Backend([Server(name="a")]).request(5)),
    ("rise", lambda: Check(rise=0)),
    ("inter", lambda: Check(inter=float("inf"))),
    ("fastinter", lambda: Check(fastinter=0.0)),
]


def test_a_part_of_a_second_of_slow_start_counts_as_a_whole_one():
    """``slowstart 2500ms`` lasts three seconds, ``900ms`` one."""
    assert [-(-slow_start(100, seconds=2.5, elapsed=e) // 16) for e in range(4)] == [7, 38, 69, 100]
    assert [-(-slow_start(100, seconds=0.9, elapsed=e) // 16) for e in range(2)] == [7, 100]


def test_slow_start_begins_when_the_server_came_up():
    """Before that, as a clock that was set back has it, the weight is that of the first second."""
    assert [slow_start(100, seconds=10, elapsed=e) for e in (-1, -60)] == [
        slow_start(100, seconds=10, elapsed=0)
    ] * 2


@pytest.mark.parametrize(("parameter", "make"), WRONG)
def test_wrong_values_are_refused(parameter, make):
    """Each wrong value raises ConfigurationError, which names the parameter."""
    with pytest.raises(ConfigurationError) as caught:
        make()
    assert caught.value.parameter == parameter


def test_an_unknown_server_is_named():
    """An unknown server is refused with those there are."""
    with pytest.raises(UnknownEndpointError, match=r"'z'.*'a', 'b'"):
        Backend(servers(1, 1)).set_state("z", "ready")
