"""Language-model servers in virtual time."""

from __future__ import annotations

from math import isnan, sqrt

import pytest

from balancekit import BoundedLoad, ConfigurationError, RingHash, RoundRobin
from balancekit.inference import PrefixAffinity
from balancekit.sim import MODEL_WORKLOADS, ModelServers, ModelWorkload, simulate_models
from balancekit.sim._model_servers import _Cache, _Simulation

SHORT = ModelWorkload(duration=60.0)
IDLE = ModelWorkload(rate=0.02, turns=1.0, system_prompts=1, duration=20_000.0)
"""One request in 50 seconds, all with one system prompt."""


def test_a_seed_gives_one_report():
    """The same seed gives the same report, another seed another."""
    first, again, other = (simulate_models(PrefixAffinity, SHORT, seed=seed) for seed in (1, 1, 2))
    assert first == again
    assert first != other


def test_without_a_cache_nothing_is_found():
    """Servers whose cache holds nothing compute every prompt whole."""
    report = simulate_models(PrefixAffinity, IDLE, ModelServers(cache=0))
    assert report.hit_rate == 0.0
    assert report.requests > 200


def test_on_idle_servers_the_first_token_takes_the_time_of_what_is_not_cached():
    """Without waiting, time to the first token is uncached tokens over the rate: both fall to the same part by a cache."""
    cold = simulate_models(PrefixAffinity, IDLE, ModelServers(count=1, cache=0))
    warm = simulate_models(PrefixAffinity, IDLE, ModelServers(count=1))
    assert warm.requests == cold.requests
    assert warm.hit_rate > 0.5
    assert warm.ttft_mean / cold.ttft_mean == pytest.approx(1.0 - warm.hit_rate, rel=1e-9)
    twice = simulate_models(PrefixAffinity, IDLE, ModelServers(count=1, cache=0, prompt_rate=32_000.0))
    assert twice.ttft_mean == pytest.approx(cold.ttft_mean / 2.0, rel=1e-9)


def test_one_server_is_as_busy_as_the_mean():
    """The busiest of one has 1.0 times the mean; the busiest of eight at least that."""
    assert simulate_models(RoundRobin, IDLE, ModelServers(count=1)).busiest == pytest.approx(1.0)
    assert simulate_models(RoundRobin, SHORT).busiest >= 1.0


def test_a_larger_cache_finds_more():
    """Of caches of 5,000, 20,000 and 80,000 tokens, each finds more than the one before."""
    found = [
        simulate_models(PrefixAffinity, SHORT, ModelServers(cache=size)).hit_rate
        for size in (5_000, 20_000, 80_000)
    ]
    assert found == sorted(set(found))


def test_a_full_cache_forgets_ends_first_and_system_prompts_last():
    """Beyond its capacity a cache loses the last tokens of what was used longest ago, and a system prompt after its conversations.

    A server holds 1,000 tokens: a system prompt of 500, conversations of 300, then 400. Of the first conversation 100 are left.
    """
    cache = _Cache(1_000)
    for name, tokens in (("first", 300), ("second", 400)):
        cache.put(name, tokens)
        cache.put("system", 500)
    assert cache.found("system", 500, "first", 300) == 600
    assert cache.found("system", 500, "second", 400) == 900
    cache.put("other", 900)
    assert cache.found("system", 500, "second", 400) == 100
    assert cache.found("other", 900, "second", 400) == 900


def test_turns_after_the_last_beginning_count_but_are_not_steady():
    """Steady turns are some of all: their hit rate differs where conversations outlive the duration."""
    report = simulate_models(PrefixAffinity, SHORT)
    assert 0.0 < report.steady_hit_rate < 1.0
    assert report.steady_hit_rate != report.hit_rate


def test_the_hot_prompt_has_its_part():
    """With every conversation on one prompt of 200, more is found than with all prompts drawn alike."""
    spread, hot = (
        simulate_models(RoundRobin, ModelWorkload(duration=60.0, system_prompts=200, skew=0.0, hot=hot))
        for hot in (0.0, 1.0)
    )
    assert hot.hit_rate > spread.hit_rate + 0.1


def test_prefix_affinity_beats_a_ring_where_prompts_are_shared():
    """With many cold prompts, prompts as keys find at least a tenth more than conversations on a bounded ring."""
    workload = ModelWorkload(rate=4.0, system_prompts=200, skew=0.6, duration=60.0)
    assert workload.system_prompts == MODEL_WORKLOADS["many cold prompts"].system_prompts
    ours = simulate_models(PrefixAffinity, workload)
    ring = simulate_models(lambda: BoundedLoad(RingHash(), factor=1.25), workload, by_conversation=True)
    assert ours.hit_rate > ring.hit_rate + 0.1
    assert ours.ttft_mean < ring.ttft_mean


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda: ModelServers(count=0), "count"),
        (lambda: ModelServers(prompt_rate=0.0), "prompt_rate"),
        (lambda: ModelServers(cache=-1), "cache"),
        (lambda: ModelWorkload(rate=0.0), "rate"),
        (lambda: ModelWorkload(turns=0.5), "turns"),
        (lambda: ModelWorkload(hot=1.5), "hot"),
        (lambda: simulate_models(7), "selector"),
    ],
    ids=["count", "prompt_rate", "cache", "rate", "turns", "hot", "selector"],
)
def test_bad_arguments_are_named(make, name):
    """An argument outside its range is refused by its name."""
    with pytest.raises(ConfigurationError, match=f"{name}="):
        make()


@pytest.mark.parametrize("turns", [1.0, 1.1, 2.0, 7.5])
def test_conversations_have_as_many_turns_as_asked_for(turns):
    """The mean number of turns is ``turns``, whatever it is: within five standard errors over 6,000 conversations."""
    workload = ModelWorkload(rate=20.0, turns=turns, duration=300.0, system_prompts=1)
    simulation = _Simulation(workload, ModelServers(), RoundRobin(), None, seed=1)
    counts = []
    simulation.turn = lambda conversation: counts.append(conversation.turns)
    simulation.run(by_conversation=True)
    error = sqrt((turns - 1.0) * turns / len(counts))  # of a geometric number
    assert abs(sum(counts) / len(counts) - turns) <= 5.0 * error


def test_a_run_without_counted_turns_has_no_times():
    """Mean and quantile are NaN if no turn was counted, and a seed is a whole number."""
    report = simulate_models(RoundRobin, ModelWorkload(duration=1e-4))
    assert report.requests == 0
    assert isnan(report.ttft_mean)
    assert isnan(report.ttft_p99)
    with pytest.raises(ConfigurationError, match=r"^seed="):
        simulate_models(RoundRobin, seed=-1)
