"""What each router narrows to, what it spills, and what it says when none is left."""

from __future__ import annotations

from collections import Counter
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from balancekit import (
    AllIneligibleError,
    ConfigurationError,
    Endpoint,
    LoadBalancer,
    Outcome,
    PowerOfChoices,
    RoundRobin,
    SaturatedError,
    SmoothWeightedRoundRobin,
)
from balancekit.errors import Reason
from balancekit.hashing import hash64
from balancekit.health import ConsecutiveFailures, Ejection, Lifecycle
from balancekit.loads import InFlight
from balancekit.routing import (
    Canary,
    Locality,
    MaxInFlight,
    Priority,
    RateLimit,
    Sticky,
    StickyValues,
    Subset,
    Subsetting,
    deterministic_subset,
    rendezvous_subset,
    source_prefix,
    tier_loads,
)
from balancekit.testing import ManualClock, Z, chi_square_z, share_z

SECRET = b"sixteen secrets!"


def picks(balancer, count, **asked):
    """Count how often each endpoint is picked."""
    return Counter(balancer.explain(**asked).picked for _ in range(count))


def eject(balancer, *ids):
    """Fail endpoints until they are ejected."""
    for id in ids:
        others = {endpoint.id for endpoint in balancer.endpoints} - {id}
        for _ in range(3):
            balancer.acquire(exclude=others).release(Outcome.FAILURE)


QUICK = Lifecycle(
    failures=ConsecutiveFailures(threshold=3), ejection=Ejection(base=60.0, max_duration=60.0, max_share=1.0)
)


class TestPriority:
    """Tiers with gradual spill."""

    @pytest.mark.parametrize(
        ("tiers", "loads"),
        [
            ([(72, 100), (72, 100)], (100, 0)),
            ([(71, 100), (71, 100)], (99, 1)),
            ([(50, 100), (50, 100)], (70, 30)),
            ([(25, 100), (100, 100)], (35, 65)),
            ([(25, 100), (25, 100)], (50, 50)),
            ([(0, 100), (100, 100)], (0, 100)),
            ([(25, 100), (25, 100), (20, 100)], (37, 35, 28)),
            ([(0, 3), (0, 3)], (0, 0)),
            ([(5, 5)], (100,)),
            ([(1, 141)], (0,)),
        ],
    )
    def test_loads_are_envoys(self, tiers, loads):
        """The loads of tiers are those of Envoy's documentation.

        Its formula counts where its table disagrees.
        """
        assert tier_loads(tiers) == loads

    @given(st.lists(st.tuples(st.integers(0, 9), st.integers(1, 9)), max_size=4), st.integers(0, 4))
    def test_a_tier_without_endpoints_gets_nothing_and_changes_no_other(self, sizes, place):
        """The loads of the other tiers are what they are without a tier that has no endpoint."""
        tiers = [(min(eligible, size), size) for eligible, size in sizes]
        alone = tier_loads(tiers)
        loads = tier_loads([*tiers[:place], (0, 0), *tiers[place:]])
        assert loads == (*alone[:place], 0, *alone[place:])

    @given(st.lists(st.tuples(st.integers(0, 9), st.integers(1, 9)), min_size=1, max_size=5))
    def test_loads_add_up(self, sizes):
        """The loads of tiers add up to 100, or to 0 when none is eligible anywhere.

        A tier with none eligible gets nothing.
        """
        tiers = [(min(eligible, size), size) for eligible, size in sizes]
        loads = tier_loads(tiers)
        assert sum(loads) == (100 if any(eligible for eligible, _ in tiers) else 0)
        assert all(not load or eligible for load, (eligible, _) in zip(loads, tiers, strict=True))

    def test_half_of_a_tier_down_sends_thirty_per_cent_on(self):
        """With half of a tier down, 30 % of requests go to the next, within five standard deviations.

        They return when it is back.
        """
        pool = [Endpoint(f"near-{k}") for k in range(6)] + [
            Endpoint(f"far-{k}", priority=1) for k in range(2)
        ]
        clock = ManualClock()
        balancer = LoadBalancer(pool, selector=Priority(), health=QUICK, clock=clock, rng=Random(1))
        assert not any(id.startswith("far") for id in picks(balancer, 500))
        eject(balancer, "near-0", "near-1", "near-2")
        far = sum(n for id, n in picks(balancer, 3_000).items() if id.startswith("far"))
        assert abs(share_z(far, 3_000, 0.30)) < 5.0
        clock.advance(100.0)
        balancer.stats()
        assert not any(id.startswith("far") for id in picks(balancer, 500))

    def test_a_key_spills_once_and_stays(self):
        """A key that stays in the near tier when three endpoints are down stays there when two are."""
        pool = [Endpoint(f"n{k}") for k in range(6)] + [Endpoint("far", priority=1)]
        balancer = LoadBalancer(pool, selector=Priority(), health=QUICK, clock=ManualClock())
        keys = [f"user-{k}" for k in range(300)]
        eject(balancer, "n0", "n1")
        few = {key for key in keys if balancer.explain(key).picked == "far"}
        eject(balancer, "n2")
        more = {key for key in keys if balancer.explain(key).picked == "far"}
        assert few < more

    def test_the_tier_of_a_key_is_envoys(self):
        """The first tier whose cumulated load is at least the hash modulo 100, plus one, gets a key."""
        pool = [Endpoint("n0"), Endpoint("n1"), Endpoint("far", priority=1)]
        balancer = LoadBalancer(pool, selector=Priority(), health=QUICK, clock=ManualClock())
        eject(balancer, "n0")
        for key in map(str, range(400)):
            near = hash64(key) % 100 + 1 <= 70
            assert (balancer.explain(key).picked == "n1") is near

    def test_a_tried_tier_sends_the_request_on(self):
        """A retry goes to the next tier when the first has been tried, though the next tier's load is 0."""
        balancer = LoadBalancer([Endpoint("a"), Endpoint("b", priority=7)], selector=Priority())
        assert [endpoint.id for endpoint in balancer.ranking()] == ["a", "b"]

    def test_tiers_do_not_share_turns(self):
        """Each tier has a selector of its own, so that tiers do not share turns."""
        pool = [Endpoint("a", weight=2), Endpoint("b"), Endpoint("c", priority=1), Endpoint("d", priority=1)]
        balancer = LoadBalancer(pool, selector=Priority(SmoothWeightedRoundRobin))
        order = [balancer.explain().picked for _ in range(3)]
        assert order == ["a", "b", "a"]
        assert balancer.explain(exclude={"a", "b"}).picked in {"c", "d"}
        assert [balancer.explain().picked for _ in range(3)] == order


class TestLocality:
    """The own zone first."""

    def test_an_explanation_names_the_zones_and_those_that_none_is_in(self):
        """A zone that no endpoint has leaves the others to serve alone; ``explain`` says so, and nothing of it where all are present."""
        pool = [Endpoint("a", zone="eu-1"), Endpoint("b", zone="eu-2")]
        misspelt = LoadBalancer(pool, selector=Locality("eu-l", near=["eu-3"]))
        told = "other zones, of loads other zones: 100 %; no endpoint is in eu-l, eu-3"
        assert told in str(misspelt.explain())
        right = str(LoadBalancer(pool, selector=Locality("eu-1")).explain())
        assert "eu-1, of loads eu-1: 100 %, other zones: 0 %" in right
        assert "no endpoint is in" not in right

    def make(self, **options):
        """Return two endpoints of the own zone, one near and one far."""
        pool = [
            Endpoint("h1", zone="home"),
            Endpoint("h2", zone="home"),
            Endpoint("n1", zone="near"),
            Endpoint("f1", zone="far"),
        ]
        return LoadBalancer(
            pool,
            selector=Locality("home", near=["near"], **options),
            health=QUICK,
            clock=ManualClock(),
            rng=Random(2),
        )

    def test_home_while_it_is_healthy_enough(self):
        """Requests go to the home zone while it is healthy enough.

        They go to the near zone next, then to the rest.
        """
        balancer = self.make()
        assert set(picks(balancer, 100)) == {"h1", "h2"}
        eject(balancer, "h1")
        counts = picks(balancer, 3_000)
        assert abs(share_z(counts["n1"], 3_000, 0.30)) < 5.0
        assert counts["f1"] == 0
        eject(balancer, "h2", "n1")
        assert set(picks(balancer, 50)) == {"f1"}


class TestSubset:
    """By metadata."""

    POOL = (
        Endpoint("a", metadata={"version": "v1", "disk": "ssd"}),
        Endpoint("b", metadata={"version": "v2", "disk": "ssd"}),
        Endpoint("c", metadata={"version": "v2", "disk": "hdd"}),
        Endpoint("d"),
    )

    def test_only_those_that_match(self):
        """Only endpoints that match all of the labels asked for are picked."""
        balancer = LoadBalancer(self.POOL, selector=Subset(["version", "disk"]), rng=Random(1))
        assert set(picks(balancer, 60, attributes={"version": "v2"})) == {"b", "c"}
        assert set(picks(balancer, 20, attributes={"version": "v2", "disk": "hdd"})) == {"c"}
        assert set(picks(balancer, 100)) == set("abcd")
        assert set(picks(balancer, 100, attributes={"tenant": "x"})) == set("abcd")

    def test_fallbacks(self):
        """Without a match the request goes to any endpoint, to none, or to the default subset, as configured."""
        asked = {"attributes": {"version": "v9"}}
        any_endpoint = LoadBalancer(self.POOL, selector=Subset(["version"]), rng=Random(1))
        assert set(picks(any_endpoint, 100, **asked)) == set("abcd")
        default = LoadBalancer(self.POOL, selector=Subset(["version"], fallback={"version": "v1"}))
        assert set(picks(default, 20, **asked)) == {"a"}
        no_endpoint = LoadBalancer(self.POOL, selector=Subset(["version"], fallback="none"))
        with pytest.raises(AllIneligibleError, match="4 not matching the request") as caught:
            no_endpoint.acquire(**asked)
        assert caught.value.reasons == {Reason.UNMATCHED: 4}


class TestCanary:
    """A stable share of the users."""

    POOL = (Endpoint("s1"), Endpoint("s2"), Endpoint("new", metadata={"track": "canary"}))
    KEYS = tuple(f"user-{k}" for k in range(4_000))

    def test_the_share_of_the_keys_is_right(self):
        """The share of the keys is the configured one, within five standard deviations."""
        canary = Canary({"track": "canary"}, share=0.1)
        chosen = sum(canary.chosen(key) for key in self.KEYS)
        assert abs(share_z(chosen, len(self.KEYS), 0.1)) < 5.0

    @pytest.mark.parametrize("position", [0, 1 << 63, (1 << 64) - 1024, (1 << 64) - 1])
    def test_a_share_of_1_is_every_key_and_one_of_0_is_none(self, position, monkeypatch):
        """The lowest and the highest of all hashes are below 1, and not below 0."""
        monkeypatch.setattr("balancekit.routing._canary.hash64", lambda _: position)
        canary = Canary({"track": "canary"}, share=1.0)
        assert canary.chosen("key")
        canary.set_share(0.0)
        assert not canary.chosen("key")

    @given(st.floats(0, 1), st.floats(0, 1), st.one_of(st.text(), st.binary(), st.integers()))
    def test_a_higher_share_only_adds_keys(self, one, other, key):
        """A key that is in a smaller share is in every greater one."""
        low, high = sorted((one, other))
        canary = Canary({"track": "canary"}, share=low)
        before = canary.chosen(key)
        canary.set_share(high)
        assert canary.chosen(key) or not before

    def test_users_stay_where_they_are(self):
        """A key is on the same side every time, in every process. With another salt other keys are chosen."""
        balancer = LoadBalancer(self.POOL, selector=Canary({"track": "canary"}, share=0.2))
        for key in self.KEYS[:50]:
            assert len({balancer.explain(key).picked == "new" for _ in range(5)}) == 1
        one, other = (Canary({"track": "canary"}, share=0.2, salt=salt) for salt in ("", "x"))
        assert {k for k in self.KEYS if one.chosen(k)} != {k for k in self.KEYS if other.chosen(k)}

    def test_without_a_key_it_is_drawn_and_an_empty_side_is_no_dead_end(self):
        """A request without a key goes to either side by the share.

        If a side is empty, the other side serves.
        """
        balancer = LoadBalancer(self.POOL, selector=Canary({"track": "canary"}, share=0.25), rng=Random(4))
        assert abs(share_z(picks(balancer, 3_000)["new"], 3_000, 0.25)) < 5.0
        balancer.drain("new")
        assert set(picks(balancer, 50)) == {"s1", "s2"}
        only = LoadBalancer([self.POOL[2]], selector=Canary({"track": "canary"}, share=0.0))
        assert only.explain("anyone").picked == "new"


class TestSticky:
    """Back to the endpoint that knows the client."""

    def make(self, **options):
        """Return a balancer of three and its values."""
        values = StickyValues("orders", [SECRET])
        balancer = LoadBalancer(
            ["a", "b", "c"],
            selector=Sticky(values, child=lambda: PowerOfChoices(), **options),
            load=InFlight(),
            health=QUICK,
            clock=ManualClock(),
            rng=Random(5),
        )
        return balancer, values

    def test_a_value_leads_back(self):
        """A sticky value leads to the endpoint that it was issued for, every time."""
        balancer, values = self.make()
        for id in "abc":
            assert set(picks(balancer, 10, attributes={"sticky": values.issue(id)})) == {id}

    def test_sessions_survive_a_drain_but_nothing_else_does(self):
        """A drained endpoint serves bound requests only.

        If the endpoint is ejected, removed or tried, another one serves them.
        """
        balancer, values = self.make()
        bound = {"sticky": values.issue("a")}
        balancer.drain("a")
        with balancer.acquire(attributes=bound) as lease:
            assert lease.target == "a"
        assert "a" not in picks(balancer, 50)
        balancer.undrain("a")
        assert "a" not in picks(balancer, 20, attributes=bound, exclude={"a"})
        eject(balancer, "a")
        assert "a" not in picks(balancer, 20, attributes=bound)
        balancer.remove("a")
        assert "a" not in picks(balancer, 20, attributes=bound)

    def test_a_crowded_endpoint_re_homes(self):
        """A bound request goes elsewhere from a crowded endpoint.

        It is crowded above the bound times its part of what is in flight.
        """
        balancer, values = self.make(bound=1.5)
        bound = {"sticky": values.issue("a")}
        held = [balancer.acquire(attributes=bound) for _ in range(60)]
        most = balancer.stats()["a"].inflight
        assert most <= 1.5 * 20 + Sticky.ALLOWANCE
        free, values = self.make(bound=float("inf"))
        kept = [free.acquire(attributes={"sticky": values.issue("a")}) for _ in range(60)]
        assert free.stats()["a"].inflight == 60
        for lease in [*held, *kept]:
            lease.release()

    def test_source_prefixes(self):
        """Source prefixes are cut by address family, also for mapped addresses."""
        assert source_prefix("203.0.113.77") == "203.0.113.0/24"
        assert source_prefix("::ffff:203.0.113.77", v4=16) == "203.0.0.0/16"
        assert source_prefix("2001:db8:1:2:3::9") == "2001:db8:1::/56"


class TestCircuitBreaker:
    """Limits per endpoint."""

    def test_full_ones_are_passed_over_and_the_caller_told(self):
        """Endpoints at their limit are passed over; if all are, SaturatedError is raised at once with the reason."""
        balancer = LoadBalancer(["a", "b"], selector=MaxInFlight(3, child=RoundRobin))
        leases = [balancer.acquire() for _ in range(6)]
        assert [e.inflight for e in balancer.stats().endpoints] == [3, 3]
        with pytest.raises(SaturatedError) as caught:
            balancer.acquire()
        assert caught.value.reasons == {Reason.SATURATED: 2}
        leases.pop().release()
        balancer.acquire().release()
        for lease in leases:
            lease.release()

    def test_limits_by_weight(self):
        """An endpoint of twice the weight has twice the limit."""
        pool = [Endpoint("a", weight=1), Endpoint("b", weight=3)]
        balancer = LoadBalancer(pool, selector=MaxInFlight(4, per_weight=True))
        leases = []
        while True:
            try:
                leases.append(balancer.acquire())
            except SaturatedError:
                break
        assert [e.inflight for e in balancer.stats().endpoints] == [2, 6]
        for lease in leases:
            lease.release()


class TestSubsetting:
    """A few of many."""

    IDS = tuple(f"e{k}" for k in range(100))

    def test_the_deterministic_subsets_of_a_round_share_everything_evenly(self):
        """Every endpoint is in exactly 30 of 300 subsets of 30 endpoints.

        There are 300 clients (SRE book, chapter 20).
        """
        ids = [f"e{k}" for k in range(300)]
        uses = Counter(
            id for client in range(300) for id in deterministic_subset(ids, client=client, size=30)
        )
        assert set(uses.values()) == {30}

    @pytest.mark.parametrize("count", range(1, 13))
    def test_a_subset_is_as_large_as_was_asked_for(self, count):
        """A client uses ``size`` endpoints, or all if there are fewer, whichever function chooses."""
        ids = self.IDS[:count]
        for client in range(10):
            for size in range(1, 14):
                chosen = deterministic_subset(ids, client=client, size=size)
                assert len(chosen) == len(set(chosen)) == min(size, count)
                assert set(chosen) <= set(ids)
                assert len(rendezvous_subset(ids, client=str(client), size=size)) == min(size, count)

    @pytest.mark.parametrize(("count", "size"), [(12, 3), (10, 3), (6, 3), (5, 3), (4, 4)])
    def test_the_clients_of_a_round_share_no_endpoint(self, count, size):
        """Of ``count // size`` clients in a row from a multiple of that on, no two use the same endpoint."""
        ids, clients = self.IDS[:count], count // size
        for first in range(0, 5 * clients, clients):
            used = [
                id
                for client in range(first, first + clients)
                for id in deterministic_subset(ids, client=client, size=size)
            ]
            assert len(set(used)) == len(used) == clients * size

    def test_rendezvous_subsets_change_by_at_most_one(self):
        """When an endpoint joins or leaves, a subset changes by at most one, whatever the order of ids."""
        for client in map(str, range(200)):
            before = set(rendezvous_subset(self.IDS, client=client, size=20))
            assert len(before - set(rendezvous_subset(self.IDS[:-1], client=client, size=20))) <= 1
            assert before == set(rendezvous_subset(reversed(self.IDS), client=client, size=20))

    def test_rendezvous_spread_is_binomial(self):
        """The number of clients per endpoint is binomial, by a chi-square test within the gate."""
        uses = Counter(
            id for client in range(1_000) for id in rendezvous_subset(self.IDS, client=f"w{client}", size=20)
        )
        assert chi_square_z(uses, dict.fromkeys(self.IDS, 1.0)) < Z

    def test_the_rest_serves_when_none_of_the_subset_is_left(self):
        """If no endpoint of a subset is left, the rest serves.

        A subset is a preference for few connections.
        """
        selector = Subsetting(lambda ids: [id for id in ids if id in {"a", "b"}])
        balancer = LoadBalancer(list("abcd"), selector=selector, rng=Random(6))
        assert set(picks(balancer, 50)) == {"a", "b"}
        balancer.drain("a")
        balancer.drain("b")
        assert set(picks(balancer, 50)) == {"c", "d"}
        balancer.add("e")
        assert set(picks(balancer, 80)) == {"c", "d", "e"}

    def test_a_choice_that_is_refused_changes_nothing(self):
        """If ``choose`` returns no ids for new members, the change raises, and the pool and its part stay as they were."""
        balancer = LoadBalancer(
            list("abc"), selector=Subsetting(lambda ids: None if "d" in ids else ids[:2]), rng=Random(6)
        )
        with pytest.raises(ConfigurationError):
            balancer.add("d")
        assert len(balancer) == 3
        assert set(picks(balancer, 50)) == {"a", "b"}

    def test_it_chooses_once_for_each_membership(self):
        """``choose`` is called once for each change of members, and not for picks or changes of health."""
        asked = []
        balancer = LoadBalancer(
            list("abc"), selector=Subsetting(lambda ids: asked.append(list(ids)) or ids[:2]), rng=Random(6)
        )
        picks(balancer, 20)
        for _ in range(5):
            balancer.acquire(exclude=["b", "c"]).release(Outcome.FAILURE)
        assert balancer.stats()["a"].state == "ejected"
        picks(balancer, 20)
        balancer.remove("c")
        assert asked == [["a", "b", "c"], ["a", "b"]]


def test_routers_nest():
    """Sticky over zones over round robin learns, prepares and explains all the way down."""
    values = StickyValues("orders", [SECRET])
    pool = [Endpoint("a", zone="eu"), Endpoint("b", zone="eu"), Endpoint("c", zone="us")]
    balancer = LoadBalancer(
        pool, selector=Sticky(values, child=lambda: Locality("eu", child=RoundRobin)), rng=Random(1)
    )
    assert picks(balancer, 40) == {"a": 20, "b": 20}
    assert picks(balancer, 5, attributes={"sticky": values.issue("c")}) == {"c": 5}
    assert any(
        "bound to 'c'" in note for note in balancer.explain(attributes={"sticky": values.issue("c")}).notes
    )


def test_children_that_learn_are_told():
    """Children that learn are told how requests end; with others, balancers are spared the detour."""
    heard = []

    class Learner:
        def select(self, snapshot, ctx):
            return next(iter(snapshot.candidates(ctx)), None)

        def learn(self, node, completion):
            heard.append(completion.outcome)

    for make in (
        Priority,
        lambda child: Locality("z", child=child),
        lambda child: MaxInFlight(9, child=child),
        lambda child: RateLimit(9.0, child=child),
    ):
        with LoadBalancer(["a"], selector=make(Learner)).acquire():
            pass
    assert heard == [Outcome.SUCCESS] * 4
    assert not hasattr(Priority(RoundRobin), "learn")


WRONG = [
    ("child", lambda: Priority("roundrobin")),
    ("child", lambda: Priority(object)),
    ("overprovisioning", lambda: Priority(overprovisioning=0.9)),
    ("overprovisioning", lambda: Priority(overprovisioning=float("nan"))),
    ("zone", lambda: Locality("")),
    ("near", lambda: Locality("a", near="b")),
    ("near", lambda: Locality("a", near=["a"])),
    ("keys", lambda: Subset([])),
    ("keys", lambda: Subset("version")),
    ("keys", lambda: Subset(["a", "a"])),
    ("fallback", lambda: Subset(["a"], fallback="all")),
    ("fallback", lambda: Subset(["a"], fallback={"b": "1"})),
    ("labels", lambda: Canary({}, share=0.1)),
    ("labels", lambda: Canary({"a": 1}, share=0.1)),
    ("share", lambda: Canary({"a": "1"}, share=1.1)),
    ("share", lambda: Canary({"a": "1"}, share=0.1).set_share(True)),
    ("values", lambda: Sticky("orders")),
    ("bound", lambda: Sticky(StickyValues("p", [SECRET]), bound=1.0)),
    ("pool", lambda: StickyValues("", [SECRET])),
    ("secrets", lambda: StickyValues("p", SECRET)),
    ("secrets", lambda: StickyValues("p", [])),
    ("secrets", lambda: StickyValues("p", [b"short"])),
    ("max_inflight", lambda: MaxInFlight(0)),
    ("max_inflight", lambda: MaxInFlight(1.5)),
    ("per_weight", lambda: MaxInFlight(1, per_weight=1)),
    ("choose", lambda: Subsetting(["a"])),
    ("choose", lambda: LoadBalancer(["a"], selector=Subsetting(lambda ids: None))),
    ("choose", lambda: LoadBalancer(["a", "b"], selector=Subsetting(lambda ids: "a"))),
    ("choose", lambda: LoadBalancer(["a"], selector=Subsetting(lambda ids: [1]))),
    ("key", lambda: Canary({"a": "1"}, share=0.1).chosen(1.5)),
    ("key", lambda: Canary({"a": "1"}, share=0.1).chosen(None)),
    ("tiers", lambda: tier_loads(0.5)),
    ("tiers", lambda: tier_loads([(5, 3)])),
    ("tiers", lambda: tier_loads([(-1, 3)])),
    ("tiers", lambda: tier_loads([("a", 3)])),
    ("tiers", lambda: tier_loads([3])),
    ("tiers", lambda: tier_loads([(1, 2, 3)])),
    ("tiers", lambda: tier_loads(["13"])),
    ("overprovisioning", lambda: tier_loads([(1, 3)], 0.9)),
    ("client", lambda: deterministic_subset(["a"], client=-1, size=1)),
    ("size", lambda: rendezvous_subset(["a"], client="c", size=0)),
    ("address", lambda: source_prefix("no address")),
    ("v4", lambda: source_prefix("10.0.0.1", v4=33)),
]


@pytest.mark.parametrize(("parameter", "make"), WRONG)
def test_wrong_values_are_refused(parameter, make):
    """Each wrong value raises ConfigurationError, which names the parameter."""
    with pytest.raises(ConfigurationError) as caught:
        make()
    assert caught.value.parameter == parameter


def test_no_secret_is_ever_shown():
    """No repr and no error shows a secret."""
    assert "secret" not in repr(StickyValues("p", [SECRET])).replace("1 secrets", "")
    with pytest.raises(ConfigurationError) as caught:
        StickyValues("p", [b"hush"])
    assert "hush" not in str(caught.value)
