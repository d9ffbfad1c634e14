"""Sets, weights and hashes: which endpoints are answered, for how long, and what happens when too little is up."""

from __future__ import annotations

import math
from collections import Counter
from random import Random

import pytest

from balancekit.errors import ConfigurationError
from balancekit.gslb import (
    AllUp,
    Client,
    Exhausted,
    GroupedOne,
    GroupedSubset,
    HashedOne,
    PrimaryBackup,
    Query,
    Rotation,
    Standing,
    WeightedOne,
    WeightedSubset,
    fixed_standings,
)

QUERY = Query(name="www", client=Client(address="192.0.2.53"))
Z = 4.5


def ask(policy, standings=None, *, now=0.0, rng=None, query=QUERY, explain=False):
    """Return one answer."""
    return policy.answer(
        query, fixed_standings(standings or {}), now=now, rng=rng or Random(7), explain=explain
    )


def shares(policy, standings=None, draws=4000):
    """Return how often each set was answered."""
    rng = Random(11)
    return Counter(frozenset(ask(policy, standings, rng=rng).chosen) for _ in range(draws))


def near(count, draws, probability):
    """Whether a binomial count is within Z standard deviations of its mean."""
    return abs(count - draws * probability) <= Z * math.sqrt(draws * probability * (1 - probability))


@pytest.mark.parametrize(
    ("threshold", "total", "up", "enough"),
    [
        (0.5, 3, 2, True),
        (0.5, 3, 1, False),
        (0.5, 4, 2, True),
        (0.07, 100, 7, True),
        (0.07, 100, 6, False),
        (0.55, 100, 55, True),
        (0.55, 100, 54, False),
        (1.0, 3, 3, True),
        (1.0, 3, 2, False),
        (0.01, 3, 1, True),
        (0.01, 3, 0, False),
    ],
)
def test_a_threshold_is_the_decimal_share_it_was_written_as(threshold, total, up, enough):
    """Exactly ceil(threshold * n) endpoints must be up, without rounding in binary."""
    ids = [f"e{k}" for k in range(total)]
    answer = ask(AllUp(ids, threshold=threshold), {id: k < up for k, id in enumerate(ids)})
    assert answer.failed is not enough
    assert sorted(answer.chosen) == sorted(ids[:up] if enough else ids)


POLICIES = pytest.mark.parametrize(
    "policy",
    [
        lambda word: AllUp(["a", "b"], exhausted=word),
        lambda word: PrimaryBackup("a", "b", exhausted=word),
        lambda word: Rotation(["a", "b"], exhausted=word),
        lambda word: WeightedOne({"a": 1, "b": 1}, exhausted=word),
        lambda word: WeightedSubset({"a": 1, "b": 1}, exhausted=word),
        lambda word: GroupedOne({"g": {"a": 1, "b": 1}}, exhausted=word),
        lambda word: GroupedSubset({"g": {"a": 1, "b": 1}}, exhausted=word),
        lambda word: HashedOne(["a", "b"], exhausted=word),
    ],
    ids=[
        "AllUp",
        "PrimaryBackup",
        "Rotation",
        "WeightedOne",
        "WeightedSubset",
        "GroupedOne",
        "GroupedSubset",
        "HashedOne",
    ],
)


@POLICIES
@pytest.mark.parametrize("word", list(Exhausted))
def test_one_word_says_what_happens_when_all_are_down(policy, word):
    """OPEN answers endpoints although they are down, NEXT and CLOSED nothing; the answer carries the word."""
    answer = ask(policy(word), {"a": False, "b": False})
    assert answer.exhausted is word
    assert answer.failed
    assert bool(answer.chosen) is (word is Exhausted.OPEN)
    assert answer.passes is (word is not Exhausted.CLOSED)
    up = ask(policy(word), {})
    assert up.exhausted is None
    assert up.chosen
    assert not up.passes


@pytest.mark.parametrize(
    ("policy", "standings", "ttl"),
    [
        (AllUp(["a", "b"]), {"a": Standing(up=True, until=40.0), "b": Standing(up=False, until=25.0)}, 15.0),
        (
            PrimaryBackup("a", "b"),
            {"a": Standing(up=True, until=40.0), "b": Standing(up=True, until=12.0)},
            30.0,
        ),
        (
            PrimaryBackup("a", "b"),
            {"a": Standing(up=False, until=40.0), "b": Standing(up=True, until=22.0)},
            12.0,
        ),
        (Rotation(["a", "b"]), {"a": Standing(up=True, until=13.0)}, 3.0),
        (WeightedOne({"a": 1, "b": 1}), {"a": Standing(up=True, until=9.0)}, 0.0),
        (WeightedOne({"a": 1, "b": 1}), {}, math.inf),
        (GroupedOne({"g": {"a": 1, "b": 1}}), {"b": Standing(up=True, until=19.0)}, 9.0),
        (HashedOne(["a"]), {"a": Standing(up=True, until=25.0)}, 15.0),
    ],
)
def test_the_ttl_ends_when_a_standing_that_decided_could_change(policy, standings, ttl):
    """Seconds from now to the earliest ``until`` of what was asked, never below 0, without a bound infinity."""
    assert ask(policy, standings, now=10.0).ttl == ttl


@POLICIES
@pytest.mark.parametrize(("until", "ttl"), [(12.5, 2.5), (10.0, 0.0), (4.0, 0.0), (math.inf, math.inf)])
@pytest.mark.parametrize("up", [True, False])
def test_the_ttl_of_every_policy_ends_with_the_standings(policy, until, ttl, up):
    """If all standings may change at one time, that is when the answer ends, up or down, and never before now."""
    standings = dict.fromkeys("ab", Standing(up=up, until=until))
    assert ask(policy(Exhausted.OPEN), standings, now=10.0).ttl == ttl


@POLICIES
@pytest.mark.parametrize("up", [True, False])
def test_an_answer_that_does_not_look_at_the_subnet_is_for_all_clients(policy, up):
    """The scope is 0, up or down, but for a policy that hashes the subnet of the client: then it is as long as was hashed."""
    made = policy(Exhausted.OPEN)
    query = Query(name="www", client=Client(address="192.0.2.53", subnet="10.1.2.0/25"))
    assert ask(made, dict.fromkeys("ab", up), query=query).scope == (24 if isinstance(made, HashedOne) else 0)


def test_all_that_are_up_are_answered_in_every_order():
    """Of two and of three endpoints that are up, each order comes as often as any other."""
    for ids in ("ab", "abc"):
        policy, rng, orders = AllUp(list(ids)), Random(5), math.factorial(len(ids))
        counts = Counter(ask(policy, rng=rng).chosen for _ in range(3000))
        assert len(counts) == orders
        assert all(near(count, 3000, 1 / orders) for count in counts.values())


def test_a_limit_may_be_one():
    """A limit of one answers one endpoint, each as often as any other."""
    rng = Random(9)
    counts = Counter(ask(AllUp(["a", "b"], limit=1), rng=rng).chosen for _ in range(2000))
    assert set(counts) == {("a",), ("b",)}
    assert near(counts["a",], 2000, 0.5)


@pytest.mark.parametrize(
    ("scheme", "points"), [("rendezvous", math.inf), ("ring", 600), ("maglev", math.inf)]
)
def test_hashed_subnets_go_by_weight(scheme, points):
    """An endpoint of weight 3 has three times the subnets of one of weight 1, as far as 4000 subnets and the points tell."""
    policy = HashedOne({"a": 1, "b": 3}, scheme=scheme)
    counts = Counter(
        ask(
            policy,
            query=Query(
                name="www", client=Client(address="192.0.2.53", subnet=f"10.{k // 250}.{k % 250}.0/24")
            ),
        ).chosen
        for k in range(4000)
    )
    spread = math.sqrt(0.25 * 0.75 * (1 / 4000 + 1 / points))
    assert abs(counts["a",] / 4000 - 0.25) < Z * spread


def test_weighted_one_draws_by_weight_among_those_up():
    """Of the endpoints that are up, each is drawn in proportion to its weight."""
    policy = WeightedOne({"a": 45, "b": 60, "c": 75}, threshold=0.2)
    found = shares(policy)
    for id, weight in {"a": 45, "b": 60, "c": 75}.items():
        assert near(found[frozenset(id)], 4000, weight / 180)
    found = shares(policy, {"c": False})
    assert near(found[frozenset("a")], 4000, 45 / 105)
    assert frozenset("c") not in found


def test_below_the_threshold_of_weights_all_are_drawn():
    """Below the threshold of weights all are drawn. The sum of weights up decides, not the number of endpoints."""
    policy = WeightedOne({"a": 80, "b": 10, "c": 10}, threshold=0.5)
    assert not ask(policy, {"b": False, "c": False}).failed
    assert ask(policy, {"a": False}).failed
    assert frozenset("a") in shares(policy, {"a": False})


def test_exactly_the_threshold_of_weights_is_enough():
    """Exactly the threshold of weights up is enough."""
    assert not ask(WeightedOne({"a": 50, "b": 50}, threshold=0.5), {"b": False}).failed
    assert ask(WeightedOne({"a": 49, "b": 51}, threshold=0.5), {"b": False}).failed


def test_half_of_the_largest_weight_is_in_half_of_the_answers():
    """Half of the largest weight is in half of the answers: a draw below the weight counts, one equal to it does not."""
    found = shares(WeightedSubset({"a": 2, "b": 1}))
    assert near(found[frozenset("ab")], 4000, 0.5)


def test_a_weight_of_zero_is_a_last_resort():
    """An endpoint of weight zero is answered only when nothing with a weight is up. The answer is then no failure."""
    policy = WeightedOne({"a": 3, "spare": 0})
    assert set(shares(policy, draws=500)) == {frozenset({"a"})}
    answer = ask(policy, {"a": False})
    assert answer.chosen == ("spare",)
    assert not answer.failed
    assert ask(policy, {"a": False, "spare": False}).chosen == ("a",)


def test_a_weighted_subset_holds_each_by_its_weight_over_the_largest():
    """The largest is always there; another with probability weight / largest, independently."""
    found = shares(WeightedSubset({"a": 99, "b": 33, "c": 1}))
    assert all("a" in chosen for chosen in found)
    with_b = sum(count for chosen, count in found.items() if "b" in chosen)
    assert near(with_b, 4000, 1 / 3)
    both = sum(count for chosen, count in found.items() if chosen == frozenset("abc"))
    assert near(both, 4000, 1 / 99 / 3)


def test_the_largest_weight_that_is_up_is_always_in_a_subset():
    """When the heaviest endpoint is down, the next heaviest is always in a subset."""
    assert all(
        "b" in chosen
        for chosen in shares(WeightedSubset({"a": 5, "b": 4, "c": 1}, threshold=0.1), {"a": False})
    )


def test_grouped_one_draws_a_group_and_then_a_subset_of_it():
    """A group is drawn by its sum of weights. Members of other groups never appear together in an answer."""
    found = shares(GroupedOne({"x": {"a": 10, "b": 20}, "y": {"c": 30, "d": 10, "e": 20}}))
    x = sum(count for chosen, count in found.items() if chosen <= set("ab"))
    assert near(x, 4000, 30 / 90)
    assert all(chosen <= set("ab") or chosen <= set("cde") for chosen in found)
    a = sum(count for chosen, count in found.items() if "a" in chosen)
    assert near(a, 4000, 30 / 90 * 0.5)


def test_grouped_subset_draws_groups_and_then_one_of_each():
    """The heaviest group is always there; of every group one member by weight."""
    found = shares(GroupedSubset({"x": {"a": 10, "b": 20}, "y": {"c": 30, "d": 10, "e": 20}}))
    assert all(len(chosen & set("cde")) == 1 and len(chosen & set("ab")) <= 1 for chosen in found)
    x = sum(count for chosen, count in found.items() if chosen & set("ab"))
    assert near(x, 4000, 0.5)
    c = sum(count for chosen, count in found.items() if "c" in chosen)
    assert near(c, 4000, 0.5)


def test_a_limit_draws_that_many_of_those_up():
    """Every endpoint that is up is in an answer with probability limit / up."""
    policy = AllUp([f"e{k}" for k in range(10)], limit=8)
    rng = Random(3)
    counts = Counter(id for _ in range(2000) for id in ask(policy, {"e0": False}, rng=rng).chosen)
    assert "e0" not in counts
    assert all(near(count, 2000, 8 / 9) for count in counts.values())


def test_a_rotation_starts_one_further_in_every_answer():
    """Each endpoint that is up stands first once in as many answers; the cyclic order is kept."""
    policy = Rotation(["a", "b", "c"], start=1)
    assert [ask(policy).chosen for _ in range(4)] == [
        ("b", "c", "a"),
        ("c", "a", "b"),
        ("a", "b", "c"),
        ("b", "c", "a"),
    ]
    assert {ask(policy, {"b": False}).chosen for _ in range(2)} == {("a", "c"), ("c", "a")}


@pytest.mark.parametrize("scheme", ["rendezvous", "ring", "maglev"])
def test_a_subnet_keeps_its_endpoint_and_only_the_lost_ones_subnets_move(scheme):
    """All of a /24 hash to one endpoint. When one goes down, others' subnets stay, and its own come back with it."""
    policy = HashedOne(["a", "b", "c"], scheme=scheme)
    subnets = [f"10.{k // 250}.{k % 250}" for k in range(500)]

    def chosen(host, standings=None):
        queries = [
            Query(name="www", client=Client(address="192.0.2.53", subnet=f"{net}.{host}/32"))
            for net in subnets
        ]
        return [ask(policy, standings, query=query) for query in queries]

    before, other_host = chosen(1), chosen(200)
    assert before == other_host
    assert {answer.scope for answer in before} == {24}
    after = chosen(1, {"b": False})
    for was, now in zip(before, after, strict=True):
        assert now.chosen == was.chosen if was.chosen != ("b",) else now.chosen != ("b",)
    assert len({answer.chosen for answer in before}) == 3


def test_a_hashed_answer_without_a_subnet_has_scope_zero_and_hashes_the_resolver():
    """Without a subnet, a hashed answer has scope 0 and hashes the resolver's own address, cut to the same prefix."""
    policy = HashedOne(["a", "b", "c"])
    same = [
        ask(policy, query=Query(name="www", client=Client(address=f"192.0.2.{host}")))
        for host in (1, 77, 254)
    ]
    assert len({answer.chosen for answer in same}) == 1
    assert {answer.scope for answer in same} == {0}


def test_an_explained_answer_is_the_same_answer_with_steps():
    """``explain`` changes nothing but ``steps``, which name the policy and its facts."""
    for policy in (
        AllUp(["a", "b", "c"]),
        WeightedSubset({"a": 1, "b": 1}),
        GroupedSubset({"g": {"a": 1}}),
        PrimaryBackup("a", "b"),
        HashedOne(["a", "b"]),
    ):
        plain, told = ask(policy, {"a": False}), ask(policy, {"a": False}, explain=True)
        assert told._replace(steps=()) == plain
        assert told.steps[0].policy == type(policy).__name__
        assert told.steps[0].text


@pytest.mark.parametrize(
    ("make", "parameter"),
    [
        (lambda: AllUp([]), "ids"),
        (lambda: AllUp("ab"), "ids"),
        (lambda: AllUp(["a", "a"]), "ids"),
        (lambda: AllUp(["a"], threshold=0.0), "threshold"),
        (lambda: AllUp(["a"], threshold=1.1), "threshold"),
        (lambda: AllUp(["a"], limit=0), "limit"),
        (lambda: AllUp(["a"], exhausted="panic"), "exhausted"),
        (lambda: PrimaryBackup("a", "a"), "backup"),
        (lambda: Rotation(["a"], start=1), "start"),
        (lambda: WeightedOne({}), "weights"),
        (lambda: WeightedOne({"a": 0}), "weights"),
        (lambda: WeightedOne({"a": -1}), "weight"),
        (lambda: WeightedOne({"a": 1.5}), "weight"),
        (lambda: GroupedOne({"x": {"a": 1}, "y": {"a": 1}}), "groups"),
        (lambda: HashedOne({"a": 0, "b": 1}), "weight"),
        (lambda: HashedOne(["a"], scheme="modulo"), "scheme"),
        (lambda: HashedOne(["a"], prefix4=33), "prefix4"),
        (lambda: Client(address="300.1.1.1"), "address"),
        (lambda: Client(address="192.0.2.1", subnet="192.0.2.1/24"), "subnet"),
    ],
)
def test_a_wrong_argument_is_named(make, parameter):
    """A wrong argument is refused at construction by an error that names the parameter."""
    with pytest.raises(ConfigurationError) as caught:
        make()
    assert caught.value.parameter == parameter


def test_a_client_is_seen_by_its_subnet_unless_it_asks_not_to_be():
    """A client is seen by its subnet with a prefix, else by the resolver's address. Mapped addresses are unmapped."""
    client = Client(address="192.0.2.53", subnet="198.51.100.0/24")
    assert str(client.seen()) == "198.51.100.0"
    assert str(client.seen(use_subnet=False)) == "192.0.2.53"
    assert str(Client(address="192.0.2.53", subnet="0.0.0.0/0").seen()) == "192.0.2.53"
    assert not Client(address="192.0.2.53", subnet="0.0.0.0/0").has_subnet
    assert str(Client(address="::ffff:192.0.2.53").seen()) == "192.0.2.53"


@pytest.mark.parametrize(
    "make",
    [
        WeightedOne,
        WeightedSubset,
        lambda weights: GroupedOne({"g": weights}),
        lambda weights: GroupedSubset({"g": weights}),
        HashedOne,
    ],
    ids=["one", "subset", "grouped one", "grouped subset", "hashed"],
)
def test_weights_are_refused_or_answered_by(make):
    """The longest weight that is taken gives answers; a longer one is refused when the policy is made."""
    policy = make({"a": 10**100, "b": 1})
    for down in ({}, {"a": False}, {"a": False, "b": False}):
        answer = policy.answer(QUERY, fixed_standings(down), now=0.0, rng=Random(1), explain=True)
        assert set(answer.chosen) <= {"a", "b"}
    for weight in (10**101, 10**400):
        with pytest.raises(ConfigurationError, match="weight"):
            make({"a": weight, "b": 1})
