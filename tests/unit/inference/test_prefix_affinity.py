"""Where prefix affinity sends prompts."""

from __future__ import annotations

from collections import Counter
from random import Random

import pytest

from balancekit import ConfigurationError, Endpoint, LoadBalancer, Outcome
from balancekit.health import ConsecutiveFailures, Lifecycle
from balancekit.inference import PrefixAffinity, Product, PromptView, RelativeLoad, StickyMatch, token_key
from balancekit.testing import ManualClock, make_context, make_snapshot

SYSTEM = "You are a helpful assistant. " * 100
NAMES = [f"e{number}" for number in range(8)]


def pool(names=NAMES, **options):
    """Return a balancer with prefix affinity."""
    selector = PrefixAffinity(**options.pop("selector", {}))
    return LoadBalancer(names, selector=selector, rng=Random(1), **options)


def ask(lb, key, **options):
    """Send one request and return where it went."""
    with lb.acquire(key, **options) as lease:
        return lease.target


@pytest.mark.parametrize(
    "rule", [Product(), RelativeLoad(), StickyMatch(gate=2.0)], ids=["product", "relative", "sticky"]
)
def test_a_conversation_stays(rule):
    """Each turn of a conversation goes where the turn before went, while loads are equal."""
    lb = pool(selector={"rule": rule})
    for conversation in range(20):
        text = f"{conversation} " * 200
        home = ask(lb, text)
        for turn in range(5):
            text += f"answer {turn}, and the next question. " * 10
            assert ask(lb, text) == home


def test_picks_go_on_from_the_snapshot_before_an_endpoint_left():
    """While a removal is prepared, requests still go to the endpoint that leaves, and nothing is recorded of them."""
    selector, before = PrefixAffinity(), make_snapshot(["a"])
    pick_by_key = selector.pickers(before, rng=Random(1))[1]
    selector.prepare(make_snapshot(["b"], version=2))
    assert pick_by_key(SYSTEM).id == "a"
    assert not len(selector._table)
    assert selector.select(before, make_context(key=SYSTEM)).id == "a"


@pytest.mark.parametrize(
    "key",
    [SYSTEM, SYSTEM.encode(), token_key(range(1_000)), 12345, "session"],
    ids=["str", "bytes", "tokens", "int", "short"],
)
def test_keys_of_every_type_stay(key):
    """A key of any type, and one shorter than a block, goes where it went before."""
    lb = pool()
    home = ask(lb, key)
    assert {ask(lb, key) for _ in range(10)} == {home}


def test_prompts_without_a_common_beginning_spread_at_random():
    """New prompts on an idle pool go to each endpoint alike: ties have no fixed order."""
    lb = pool()
    counts = Counter(ask(lb, f"{number} new") for number in range(1_600))
    assert min(counts.values()) > 200 - 4.5 * 13.3
    assert set(counts) == set(NAMES)


def test_requests_without_a_key_go_to_the_least_loaded():
    """A request without a key is no prompt: only load counts, and nothing is remembered."""
    lb = pool()
    leases = [lb.acquire() for _ in range(16)]
    assert set(Counter(lease.target for lease in leases).values()) == {2}


def test_the_product_decides():
    """The product of uncached blocks and load decides.

    With half a block of 9.5 uncached, an endpoint is picked until it would be 19 times as busy as an idle one.
    """
    lb = pool(["a", "b"], selector={"spill": None})
    prompt = "x" * 256 * 9
    home = ask(lb, prompt)
    busy = []
    while (lease := lb.acquire(f"{prompt}{len(busy):0128}")).target == home and len(busy) < 50:
        busy.append(lease)
    assert len(busy) == 18


def test_an_endpoint_far_above_the_mean_spills():
    """However hot a prompt is, no endpoint exceeds the larger of 1.25 x the mean and the mean plus its margin."""
    lb = pool()
    leases = []
    for _ in range(400):
        leases.append(lb.acquire(SYSTEM))
        loads = [endpoint.inflight for endpoint in lb.stats().endpoints]
        mean = sum(loads) / 8
        assert max(loads) <= max(1.25 * mean, mean + max(4.0, 2.0 * mean**0.5)) + 1


def test_models_and_adapters_share_nothing():
    """The attributes ``model`` and ``adapter`` keep prompts apart; the same ones keep them together."""
    lb = pool()
    homes = {}
    for model in ("m1", "m2"):
        for adapter in ("", "french"):
            attributes = {"model": model, "adapter": adapter}
            homes[model, adapter] = ask(lb, SYSTEM, attributes=attributes)
            assert ask(lb, SYSTEM, attributes=attributes) == homes[model, adapter]
    for (model, adapter), home in homes.items():
        explanation = lb.explain(SYSTEM, attributes={"model": model, "adapter": adapter})
        assert f"{home!r}: matched 11 of" in str(explanation)
        assert str(explanation).count("matched 11 of") == 1


def test_an_explanation_tells_and_changes_nothing():
    """``explain`` tells matched blocks, load and score of each candidate, and is not taken for a request."""
    lb = pool(["a", "b"])
    home = ask(lb, SYSTEM)
    text = str(lb.explain(SYSTEM + "What else?"))
    assert f"{home!r}: matched 11 of 11.37 blocks, load 0, score 0.3672" in text
    for _ in range(10):
        lb.explain("new " * 500)
    assert str(lb.explain("new " * 500)).count("matched 0") == 2


def test_what_has_gone_is_forgotten():
    """An endpoint that was removed and added again, or replaced, holds nothing."""
    lb = pool(["a", "b"])
    home = ask(lb, SYSTEM)
    lb.remove(home)
    lb.add(home)
    assert str(lb.explain(SYSTEM)).count("matched 0") == 2
    home = ask(lb, SYSTEM)
    lb.update([Endpoint("a", "other"), Endpoint("b", "other")])
    assert str(lb.explain(SYSTEM)).count("matched 0") == 2


def test_a_refused_connection_means_a_new_engine():
    """An endpoint that refuses a connection holds nothing; a failure or a timeout says nothing of its cache."""
    for outcome, forgets in (
        (Outcome.CONNECT_FAILED, True),
        (Outcome.FAILURE, False),
        (Outcome.TIMEOUT, False),
    ):
        lb = pool(["a", "b"])
        home = ask(lb, SYSTEM)
        lb.acquire(SYSTEM).release(outcome)
        known = f"{home!r}: matched 11 of" in str(lb.explain(SYSTEM))
        assert known is not forgets


def test_an_endpoint_that_is_back_from_an_ejection_holds_nothing():
    """What was cached before an ejection is forgotten when health lets the endpoint back; the others keep theirs."""
    clock = ManualClock()
    lb = pool(["a", "b", "c"], clock=clock, health=Lifecycle(failures=ConsecutiveFailures(2)))
    home = ask(lb, SYSTEM)
    other = ask(lb, "other " * 500, exclude={home})
    for _ in range(2):
        lb.acquire(SYSTEM).release(Outcome.FAILURE)
    assert ask(lb, SYSTEM, exclude={other}) != home
    clock.advance(3600)
    lb.stats()
    for _ in range(20):
        ask(lb, None)
    text = str(lb.explain(SYSTEM))
    assert f"{home!r}: matched 0" in text
    assert f"{other!r}: matched 11 of" in str(lb.explain("other " * 500))


def test_draining_and_cooling_forget_nothing():
    """An endpoint that cools down after ``Retry-After`` still has its cache when it is back."""
    clock = ManualClock()
    lb = pool(["a", "b"], clock=clock)
    home = ask(lb, SYSTEM)
    lb.acquire(SYSTEM).release(Outcome.FAILURE, retry_after=5.0)
    assert ask(lb, "else") != home
    clock.advance(6)
    assert ask(lb, SYSTEM) == home


def test_weights_divide_loads():
    """An endpoint of three times the weight takes three quarters of new prompts under load."""
    lb = pool([Endpoint("a", weight=3), Endpoint("b", weight=1), Endpoint("c", weight=0)])
    leases = [lb.acquire(f"{number} new") for number in range(400)]
    counts = Counter(lease.target for lease in leases)
    assert abs(counts["a"] - 300) <= 4
    assert counts["c"] == 0


def test_an_excluded_endpoint_is_passed_over():
    """A retry goes to the next best, though the excluded one has the prompt."""
    lb = pool()
    home = ask(lb, SYSTEM)
    assert ask(lb, SYSTEM, exclude={home}) != home


def test_an_old_snapshot_does_not_make_it_forget():
    """A pick from a snapshot that is no longer the newest leaves what is known of the others as it is."""
    selector = PrefixAffinity()
    old, new = make_snapshot(["a", "b"]), make_snapshot(["a", "b", "c"], version=2)
    selector.prepare(new)
    home = selector.select(new, make_context(key=SYSTEM, exclude={"a", "b"}))
    assert home.id == "c"
    selector.select(old, make_context(key="other"))
    assert selector.select(new, make_context(key=SYSTEM)).id == "c"


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({"rule": Product}, "rule"),
        ({"rule": 7}, "rule"),
        ({"block": 4}, "block"),
        ({"block": 100}, "block"),
        ({"capacity": 0}, "capacity"),
        ({"spill": 0.9}, "spill"),
    ],
)
def test_bad_arguments_are_named(options, name):
    """What cannot work is refused by name when the selector is made."""
    with pytest.raises(ConfigurationError, match=f"^{name}="):
        PrefixAffinity(**options)


def test_rules_refuse_bad_numbers():
    """A bad number in a rule is refused when the rule is made."""
    for make in (
        lambda: RelativeLoad(beta=-1.0),
        lambda: StickyMatch(match=1.1),
        lambda: StickyMatch(gate=-1.0),
    ):
        with pytest.raises(ConfigurationError):
            make()


@pytest.mark.parametrize(
    ("loads", "expected"),
    [([9.0, 5.0, 0.0], [1.0]), ([12.0, 15.0, 0.0], [2.0]), ([10.0, 30.0, 0.0], [0.0])],
)
def test_the_gate_of_a_sticky_match(loads, expected):
    """Endpoints with most of the prompt win while the best of them is not more than the gate busier than the least busy."""
    prompt = PromptView(10.0, [9.0, 8.0, 0.0], loads, [1.0] * 3, sum(loads) / 3)
    scores = StickyMatch(match=0.8, gate=10.0).scores(prompt)
    assert [float(scores.index(min(scores)))] == expected
