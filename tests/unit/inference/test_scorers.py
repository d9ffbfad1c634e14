"""What scorers add to the load of endpoints, and where prompts go because of them."""

from __future__ import annotations

from collections import Counter
from random import Random

import pytest

from balancekit import ConfigurationError, LoadBalancer
from balancekit.checks import MetricsPage
from balancekit.inference import CacheUtilization, LoadedAdapters, PrefixAffinity, Product, StickyMatch
from balancekit.reported import NodeAttributes
from balancekit.testing import ManualClock, make_snapshot

NAMES = ["a", "b", "c"]
PROMPT = "You are a helpful assistant. " * 100


def pool(scorers, rule=None):
    """Return a balancer with prefix affinity and a clock."""
    clock = ManualClock()
    selector = PrefixAffinity(rule, scorers=scorers)
    return LoadBalancer(NAMES, selector=selector, rng=Random(1), clock=clock), clock


def ask(lb, key, adapter=None):
    """Send one request and return where it went."""
    with lb.acquire(key, attributes={} if adapter is None else {"adapter": adapter}) as lease:
        return lease.target


def vllm(running, waiting="", *, room=4, at=1.0, usage=0.1):
    """Return a page of metrics."""
    return (
        "vllm:num_requests_running 1.0\nvllm:num_requests_waiting 0.0\n"
        f"vllm:kv_cache_usage_perc {usage}\n"
        'vllm:lora_requests_info{max_lora="4",running_lora_adapters="old",waiting_lora_adapters=""} 0.5\n'
        f'vllm:lora_requests_info{{max_lora="{room}",running_lora_adapters="{running}",waiting_lora_adapters="{waiting}"}} {at}\n'
    )


READ = MetricsPage("vllm", fetch=str).read


def test_the_page_of_vllm_tells_its_adapters():
    """The newest sample counts: adapters that run or wait are loaded, and the rest of the room is free."""
    figures = READ(vllm("legal,medical", "tax"))
    assert figures == {
        "requests": 1.0,
        "waiting": 0.0,
        "kv_utilization": 0.1,
        "adapter:legal": 1.0,
        "adapter:medical": 1.0,
        "adapter:tax": 1.0,
        "adapters_free": 1.0,
    }
    assert READ(vllm("a,b,c", room=2))["adapters_free"] == 0.0
    assert "adapters_free" not in READ(vllm("a", room="many"))
    assert "adapter:" not in "".join(READ("vllm:num_requests_running 1\nvllm:num_requests_waiting 0\n"))


@pytest.mark.parametrize("rule", [Product(), StickyMatch(gate=4.0)], ids=["product", "sticky"])
def test_an_adapter_goes_where_it_is_loaded(rule):
    """On an idle pool each request for an adapter goes to the endpoint that has it, and new prompts too."""
    attributes = NodeAttributes()
    for name, page in zip(NAMES, (vllm("legal"), vllm("medical"), vllm("")), strict=True):
        attributes.record(name, READ(page), now=0.0)
    lb, _ = pool([LoadedAdapters(attributes)], rule=rule)
    assert {ask(lb, f"{number} {PROMPT}", "legal") for number in range(40)} == {"a"}
    assert {ask(lb, f"{number} {PROMPT}", "medical") for number in range(40)} == {"b"}


def test_an_adapter_is_loaded_where_there_is_room():
    """An adapter that no endpoint has goes past endpoints whose room is taken."""
    attributes = NodeAttributes()
    for name in ("a", "b"):
        attributes.record(name, READ(vllm("w,x,y,z")), now=0.0)
    attributes.record("c", READ(vllm("w")), now=0.0)
    lb, _ = pool([LoadedAdapters(attributes)])
    assert {ask(lb, f"{number}", "new") for number in range(40)} == {"c"}


def test_a_busy_endpoint_shares_its_adapter():
    """With so many requests open at the only endpoint that has an adapter, another endpoint loads it."""
    attributes = NodeAttributes()
    attributes.record("a", READ(vllm("legal")), now=0.0)
    for name in ("b", "c"):
        attributes.record(name, READ(vllm("")), now=0.0)
    lb, _ = pool([LoadedAdapters(attributes, loading=2.0)])
    held = [lb.acquire(f"{number}", attributes={"adapter": "legal"}) for number in range(9)]
    counts = Counter(lease.target for lease in held)
    assert abs(counts["a"] - counts["b"] - 2) <= 1
    assert abs(counts["a"] - counts["c"] - 2) <= 1
    for lease in held:
        lease.release()


def test_requests_without_an_adapter_and_endpoints_without_figures_are_as_before():
    """Without an adapter or figures nothing is added to a score, and idle endpoints are chosen alike."""
    attributes = NodeAttributes(max_age=3.0)
    lb, clock = pool([LoadedAdapters(attributes), CacheUtilization(attributes)])
    assert len({ask(lb, f"{number}") for number in range(60)}) == 3
    assert len({ask(lb, f"{number}", "legal") for number in range(60)}) == 3
    attributes.record("a", READ(vllm("legal")), now=clock())
    attributes.record("b", READ(vllm("", usage=1.0)), now=clock())
    assert "b" not in {ask(lb, f"{number} x") for number in range(60)}
    clock.advance(4.0)
    assert len({ask(lb, f"{number} y", "legal") for number in range(60)}) == 3


def test_a_full_cache_counts_in_proportion_above_its_bound():
    """Up to its bound a cache adds nothing to a score.

    Above it adds in proportion, and the whole weight at 1 and beyond.
    """
    attributes = NodeAttributes()
    scorer = CacheUtilization(attributes, above=0.5, weight=4.0)
    (node,) = make_snapshot(["a"]).members.nodes
    for share, expected in ((0.0, 0.0), (0.5, 0.0), (0.75, 2.0), (1.0, 4.0), (1.5, 4.0)):
        attributes.record("a", {"kv_utilization": share}, now=0.0)
        assert scorer.busier(node, "", now=0.0) == pytest.approx(expected)


def test_the_explanation_shows_the_load_with_what_was_added():
    """A candidate's load in ``explain`` is what the rule saw."""
    attributes = NodeAttributes()
    attributes.record("a", {"kv_utilization": 1.0}, now=0.0)
    lb, _ = pool([CacheUtilization(attributes, weight=7.0)])
    assert "'a': matched 0 of" in str(lb.explain(PROMPT))
    assert "load 7" in str(lb.explain(PROMPT))


@pytest.mark.parametrize(
    ("make", "parameter"),
    [
        (lambda: CacheUtilization(None), "attributes"),
        (lambda: CacheUtilization(NodeAttributes), "attributes"),
        (lambda: CacheUtilization(NodeAttributes(), above=1.0), "above"),
        (lambda: CacheUtilization(NodeAttributes(), above=80), "above"),
        (lambda: CacheUtilization(NodeAttributes(), weight=-1.0), "weight"),
        (lambda: CacheUtilization(NodeAttributes(), name=""), "name"),
        (lambda: LoadedAdapters({}), "attributes"),
        (lambda: LoadedAdapters(NodeAttributes(), loading=-1.0), "loading"),
        (lambda: LoadedAdapters(NodeAttributes(), loading=3.0, full=2.0), "full"),
        (lambda: PrefixAffinity(scorers=[LoadedAdapters]), "scorers"),
        (lambda: PrefixAffinity(scorers=["kv"]), "scorers"),
        (lambda: PrefixAffinity(scorers=3), "scorers"),
    ],
)
def test_options_that_cannot_be_are_refused(make, parameter):
    """Each wrong value raises ConfigurationError, which names the parameter."""
    with pytest.raises(ConfigurationError, match=parameter):
        make()
