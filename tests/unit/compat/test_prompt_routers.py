"""Routers of prompts: SGLang, smg, Dynamo."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from balancekit import ConfigurationError, LoadBalancer
from balancekit.compat import dynamo, sglang, smg
from balancekit.compat._prompt_history import PromptHistory
from balancekit.testing import check_selector
from balancekit.testing.laws import ALL, WEIGHTED, fast_path_agrees


@given(
    texts=st.lists(st.tuples(st.sampled_from("ab"), st.text("xyz", max_size=6))),
    text=st.text("xyz", max_size=6),
)
def test_the_longest_common_beginning_is_found(texts, text):
    """The neighbours in sorted order give the same lengths as a comparison with every text."""
    history = PromptHistory()
    for server, sent in texts:
        history.add(server, sent)
    for server, length in history.matches(text).items():
        mine = [sent for name, sent in texts if name == server]
        assert length == max(
            n for sent in mine for n in range(len(text) + 1) if sent[:n] == text[:n] and len(sent) >= n
        )


def test_old_texts_are_forgotten():
    """Old texts above the bound of characters are forgotten, the least recently sent first."""
    history = PromptHistory(10)
    for text in ("aaaaa", "bbbbb", "aaaaa", "ccccc"):
        history.add("s", text)
    assert [history.matches(text)["s"] for text in ("aaaaa", "bbbbb", "ccccc")] == [5, 0, 5]


@pytest.mark.parametrize("make", [sglang.CacheAware, smg.CacheAware], ids=["sglang", "smg"])
def test_they_keep_the_laws(make):
    """Prompt routers keep the laws of selectors, except those about weights."""
    check_selector(make, ALL - {WEIGHTED, fast_path_agrees}, examples=15)


@pytest.mark.parametrize("make", [sglang.CacheAware, smg.CacheAware], ids=["sglang", "smg"])
def test_a_prompt_returns_and_ties_do_not_all_go_to_one(make):
    """The same prompt returns; new prompts on an idle pool go to every server; a server that has gone is forgotten."""
    selector = make()
    lb = LoadBalancer(["a", "b", "c"], selector=selector, rng=Random(1))
    homes = []
    for number in range(60):
        with lb.acquire(f"{number} is a prompt") as lease:
            homes.append(lease.target)
    assert {*homes} == {"a", "b", "c"}
    with lb.acquire("59 is a prompt") as lease:
        assert lease.target == homes[-1]
    lb.remove(homes[-1])
    assert homes[-1] not in selector.history.matches("x")


def test_sglang_gives_up_affinity_when_out_of_balance():
    """At exactly the thresholds affinity holds; above both it does not."""
    policy = sglang.CacheAware(balance_abs_threshold=2, balance_rel_threshold=2.0)
    policy.history.add("a", "prompt")
    assert policy.admissible("prompt", {"a": 4, "b": 2}) == {"a"}
    assert policy.admissible("prompt", {"a": 7, "b": 4}) == {"a"}
    assert policy.admissible("prompt", {"a": 5, "b": 2}) == {"b"}
    assert policy.admissible("pro234567890", {"a": 1, "b": 0}) == {"b"}


@pytest.mark.parametrize(
    ("counts", "kept"),
    [((64, 0), True), ((65, 0), False), ((300, 200), True), ((301, 200), False)],
    ids=["64 more", "65 more", "1.5 times", "above 1.5 times"],
)
def test_the_thresholds_of_sglang_are_64_and_one_and_a_half(counts, kept):
    """Without options, affinity holds up to 64 open requests more than the fewest, and up to 1.5 times as many."""
    policy = sglang.CacheAware()
    policy.history.add("a", "prompt")
    assert policy.admissible("prompt", dict(zip("ab", counts, strict=True))) == ({"a"} if kept else {"b"})


def test_sglang_needs_a_match_of_three_tenths():
    """Without options, 30 of 100 characters are no match, and 31 are."""
    policy = sglang.CacheAware()
    policy.history.add("a", "x" * 31)
    assert policy.admissible("x" * 30 + "y" * 70, {"a": 1, "b": 0}) == {"b"}
    assert policy.admissible("x" * 31 + "y" * 69, {"a": 1, "b": 0}) == {"a"}


@pytest.mark.parametrize(
    ("option", "least", "wrong"),
    [("max_tree_size", 1, 0), ("balance_abs_threshold", 0, -1), ("balance_rel_threshold", 1.0, 0.99)],
)
def test_the_least_figures_of_sglang_are_taken_and_less_is_not(option, least, wrong):
    """Each figure has a least value that is allowed."""
    sglang.CacheAware(**{option: least})
    with pytest.raises(ConfigurationError, match=option):
        sglang.CacheAware(**{option: wrong})


@pytest.mark.parametrize("make", [sglang.CacheAware, smg.CacheAware], ids=["sglang", "smg"])
@pytest.mark.parametrize(("threshold", "matched"), [(0.29, 29), (0.57, 57), (0.3, 30), (1.0, 100)])
def test_a_match_that_equals_the_threshold_is_not_enough(make, threshold, matched):
    """The part that matches is compared as a quotient, so 29 of 100 characters are not above 0.29; one more is."""
    policy = make(cache_threshold=threshold)
    policy.history.add("a", "x" * matched)
    assert policy.admissible("x" * matched + "y" * (100 - matched), {"a": 1, "b": 0}) == {"b"}
    if matched < 100:
        policy.history.add("a", "x" * (matched + 1))
        assert policy.admissible("x" * (matched + 1) + "y" * (99 - matched), {"a": 1, "b": 0}) == {"a"}


def test_sglang_multiplies_its_factor_in_single_precision():
    """29 open requests are not more than 1.16 times 25, though they are in double precision; no factor is too large."""
    policy = sglang.CacheAware(balance_abs_threshold=2, balance_rel_threshold=1.16)
    policy.history.add("a", "prompt")
    assert policy.admissible("prompt", {"a": 29, "b": 25}) == {"a"}
    assert policy.admissible("prompt", {"a": 30, "b": 25}) == {"b"}
    policy = sglang.CacheAware(balance_abs_threshold=2, balance_rel_threshold=1e300)
    policy.history.add("a", "prompt")
    assert policy.admissible("prompt", {"a": 23, "b": 1}) == {"a"}


def test_smg_prefers_the_least_busy_holder():
    """Of several holders those with the fewest open requests may be picked, and it is they that the margin judges."""
    policy = smg.CacheAware(spill_abs_threshold=4)
    for server in "abc":
        policy.history.add(server, "prompt")
    assert policy.admissible("prompt", {"a": 4, "b": 1, "c": 1, "d": 0}) == {"b", "c"}
    assert policy.admissible("prompt", {"a": 30, "b": 1, "c": 2, "d": 0}) == {"b"}
    assert policy.admissible("prompt", {"a": 60, "b": 50, "c": 55, "d": 0, "e": 0}) == {"d", "e"}


@pytest.mark.parametrize(
    ("counts", "kept"),
    [
        ((10, 0), True),
        ((17, 4), True),
        ((29, 11), True),
        ((12, 3, 4), True),
        ((20, 6, 12), True),
        ((27, 11, 17), True),
        ((5, 0, 0), True),
        ((11, 0), False),
        ((17, 2), False),
        ((28, 9), False),
        ((13, 3, 4), False),
        ((18, 0, 14), False),
    ],
)
def test_smg_rounds_the_margin_up(counts, kept):
    """Twice the root of the mean is rounded up before it is compared: decisions of smg 1.13.0 about a holder with the first count."""
    policy = smg.CacheAware(spill_rel_threshold=1.0)
    policy.history.add("a", "prompt")
    assert ("a" in policy.admissible("prompt", dict(zip("abc", counts, strict=False)))) is kept


def test_dynamo_counts_shared_blocks_once_and_forgets():
    """Blocks in use count once; ends, first bytes and time take off what they should; mistakes are named."""
    router = dynamo.KvRouter(["a", "b"])
    prompt = list(range(64))
    router.book("1", "a", prompt, now=0.0)
    assert router.costs(prompt, now=1.0)["a"] == (8.0, 4)
    router.prefill_complete("1")
    assert router.costs(prompt, now=1.0)["a"] == (4.0, 4)
    assert router.choose(prompt, Random(1), now=1.0) == "a"
    assert router.costs(prompt, now=120.0)["a"] == (8.0, 0)
    router.free("1")
    router.free("1")
    assert router.costs(prompt, now=120.0) == {"a": (8.0, 0), "b": (8.0, 0)}
    router.book("2", "a", prompt, now=0.0)
    for arguments in (("2", "a"), ("3", "z")):
        with pytest.raises(ConfigurationError):
            router.book(*arguments, prompt, now=0.0)
    with pytest.raises(ConfigurationError, match="block_size="):
        dynamo.KvRouter(["a"], block_size=0)


def test_dynamo_forgets_blocks_whose_time_is_over():
    """A router keeps the blocks of its time to live, not all that it has ever sent; one that is sent again counts from then."""
    router = dynamo.KvRouter(["a"], ttl=10.0)
    prompts = [range(number * 16, number * 16 + 16) for number in range(200)]
    for number, prompt in enumerate(prompts):
        for sent in (prompts[0], prompt):
            router.book("x", "a", sent, now=float(number))
            router.free("x")
    assert router.costs(prompts[0], now=208.0)["a"].overlap == 1
    assert [router.costs(prompt, now=199.0)["a"].overlap for prompt in prompts[1:]] == [0] * 189 + [1] * 10
    assert len(router._cached["a"]) == 11


def test_dynamo_credits_cached_blocks_in_the_choice_alone():
    """Half a credit halves what a cached block saves in a cost; the tokens that then wait are those that are not cached."""
    router = dynamo.KvRouter(["a"], overlap_score_credit=0.5)
    router.book("1", "a", range(32), now=0.0)
    router.prefill_complete("1")
    assert router.costs(range(40), now=0.0)["a"] == ((40 - 0.5 * 32) / 16 + 2, 2)
    router.book("2", "a", range(40), now=0.0)
    assert router.costs([7], now=0.0)["a"] == ((8 + 1) / 16 + 2, 0)


def test_dynamo_counts_shared_blocks_for_each_if_they_are_not_shared():
    """Without reuse a block counts for every request that has it, and is cached all the same."""
    router = dynamo.KvRouter(["a"], assume_kv_reuse=False)
    for id in ("1", "2"):
        router.book(id, "a", range(32), now=0.0)
    assert router.costs(range(32), now=0.0)["a"] == (32 / 16 + 6, 2)
    router.free("1")
    assert router.costs(range(32), now=0.0)["a"] == (4, 2)


def test_dynamo_looks_no_block_up_without_a_credit():
    """With a credit of 0 no block counts as cached, neither in the cost nor in the work that a request leaves behind."""
    router = dynamo.KvRouter(["a"], overlap_score_credit=0.0)
    router.book("1", "a", range(32), now=0.0)
    router.prefill_complete("1")
    assert router.costs(range(40), now=0.0)["a"] == (40 / 16 + 2, 0)
    router.book("2", "a", range(40), now=0.0)
    assert router.costs([7], now=0.0)["a"] == ((40 + 1) / 16 + 2, 0)


def test_a_credit_of_dynamo_above_one_pays_for_other_work_down_to_none():
    """A credit of 3 takes three blocks of work off for each cached one, and never more than there are."""
    router = dynamo.KvRouter(["a"], overlap_score_credit=3.0)
    router.book("1", "a", range(32), now=0.0)
    assert router.costs(range(32), now=0.0)["a"] == (2.0, 2)
    router.book("2", "a", range(100, 200), now=0.0)
    assert router.costs(range(32), now=0.0)["a"] == ((32 + 100 + 32 - 3 * 32) / 16 + 8, 2)


def test_dynamo_charges_for_open_requests():
    """Each open request of a worker adds its weight to the cost, until it ends."""
    router = dynamo.KvRouter(["a", "b"], decode_active_request_weight=1.5)
    for id in ("1", "2"):
        router.book(id, "a", [7], now=0.0)
        router.prefill_complete(id)
    assert router.costs([7], now=0.0) == {"a": (1 / 16 + 3.0, 0), "b": (1 / 16, 0)}
    router.free("1")
    router.free("1")
    assert router.costs([7], now=0.0)["a"].cost == 1 / 16 + 1.5


@pytest.mark.parametrize(("block_size", "length"), [(1, 5_000), (7, 100), (16, 50_000)])
def test_dynamo_counts_all_blocks_of_a_long_prompt(block_size, length):
    """Every whole block counts, of odd sizes and in prompts of any length, and a change at the end moves one block."""
    router = dynamo.KvRouter(["a"], block_size=block_size)
    prompt = list(range(length))
    blocks = length // block_size
    assert router.costs(prompt, now=0.0)["a"] == (length / block_size + blocks, 0)
    router.book("1", "a", prompt, now=0.0)
    router.prefill_complete("1")
    changed = [*prompt[: blocks * block_size - 1], 7]
    assert router.costs(changed, now=0.0)["a"] == (1 + blocks + 1, blocks - 1)
