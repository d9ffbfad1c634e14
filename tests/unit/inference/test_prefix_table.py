"""Blocks of prompts, and the table of which endpoints hold them."""

from __future__ import annotations

from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from balancekit import ConfigurationError
from balancekit.inference import PrefixTable, _blocks, _prefix_table, prompt_blocks, prompt_key, token_key

NAMES = ("a", "b", "c")


def table_of(capacity, names=NAMES):
    """Return a table for some endpoints."""
    table = PrefixTable(capacity)
    table.resize(names)
    return table


def depth(table, name, blocks):
    """Return how many leading blocks an endpoint has."""
    return table.find(blocks).depth(table.bits[name])


def random_blocks(rng, count):
    """Return the numbers of a prompt that shares nothing with others."""
    return np.array([rng.getrandbits(64) for _ in range(count)], dtype=np.uint64)


# ---------------------------------------------------------------------- blocks


@given(
    common=st.binary(max_size=300),
    one=st.binary(max_size=100),
    other=st.binary(max_size=100),
    seed=st.integers(0, 2),
)
def test_equal_numbers_mean_equal_beginnings(common, one, other, seed):
    """Two prompts share exactly the numbers of the whole blocks that begin both alike; a short prompt only equals itself."""
    first, second = common + one, common + other
    mine, _ = prompt_blocks(first, 16, seed)
    theirs, _ = prompt_blocks(second, 16, seed)
    for at in range(min(len(mine), len(theirs))):
        end = (at + 1) * 16
        assert (mine[at] == theirs[at]) == (first[:end] == second[:end])


@pytest.mark.parametrize("block", [8, 256, 65_536])
def test_the_number_of_a_block_is_exact(block):
    """Sums of words and factors are those of integers, also where every word is the largest: nothing is rounded."""
    factors = [int(factor) for factor in _blocks._factors(block)]
    for data in (b"\xff" * block, Random(1).randbytes(block)):
        words = np.frombuffer(data, np.uint16).tolist()
        wanted = sum(word * factor for word, factor in zip(words, factors, strict=True))
        assert wanted < 2**53
        number = int(prompt_blocks(data, block)[0][0])
        assert number == wanted * int(_blocks._POSITIONS[0]) % 2**64


def test_a_block_counts_where_it_stands():
    """The same text at another place, or after another beginning, has another number."""
    twice, _ = prompt_blocks(b"A" * 32, 16)
    swapped, _ = prompt_blocks(b"B" * 16 + b"A" * 16, 16)
    straight, _ = prompt_blocks(b"A" * 16 + b"B" * 16, 16)
    assert len({int(number) for number in (*twice, *swapped, *straight)}) == 5


def test_keys_of_every_type_have_blocks():
    """Text is its UTF-8 bytes, an integer one block; an empty prompt has one block, and length 1."""
    assert (prompt_blocks("é" * 20, 16)[0] == prompt_blocks("é".encode() * 20, 16)[0]).all()
    assert prompt_blocks(chr(0xDCFF), 16)[1] == 1.0
    for empty in ("", b""):
        numbers, length = prompt_blocks(empty, 16)
        assert (numbers.size, length) == (1, 1.0)
    assert prompt_blocks(-5, 16)[0].size == 1
    numbers, length = prompt_blocks(b"x" * 40, 16)
    assert (numbers.size, length) == (2, 2.5)


def test_a_prompt_has_at_most_2048_blocks():
    """Prompts that agree on 2,048 blocks are the same to the table."""
    long, length = prompt_blocks(b"x" * 8 * 3000, 8)
    assert (long.size, length) == (2048, 2048.0)


def test_seeds_and_names_share_nothing():
    """The numbers of different seeds are all different, and so are the keys of different models and adapters."""
    mine, theirs = (set(prompt_blocks(b"x" * 4096, 64, seed)[0].tolist()) for seed in (1, 2))
    assert not mine & theirs
    keys = {
        prompt_key("p"),
        prompt_key("p", model="m"),
        prompt_key("p", adapter="m"),
        prompt_key("p", model="m", adapter="m"),
    }
    assert len(keys) == 4


def test_token_ids_are_four_bytes_each():
    """Lists, arrays and iterators of token ids give the same key; what is none is refused."""
    assert token_key([1, 2]) == token_key(np.array([1, 2])) == token_key(iter((1, 2))) == b"\1\0\0\0\2\0\0\0"
    assert prompt_key([1, 2], model="m").endswith(token_key([1, 2]))
    assert token_key([]) == b""
    for wrong in ([-1], [2**32], [1.5], ["a"], [[1]], 7):
        with pytest.raises(ConfigurationError, match="tokens="):
            token_key(wrong)


# ---------------------------------------------------------------------- table

PROMPTS = [
    b"".join(bytes([letter]) * 16 for letter in text) for text in (b"abcd", b"abce", b"ab", b"xbcd", b"xyz")
]

steps = st.lists(
    st.one_of(
        st.tuples(st.just("record"), st.sampled_from(NAMES), st.sampled_from(PROMPTS)),
        st.tuples(st.just("forget"), st.sampled_from(NAMES)),
        st.tuples(st.just("resize"), st.sets(st.sampled_from(NAMES), min_size=1)),
    ),
    max_size=30,
)


@given(steps=steps)
def test_a_table_that_is_not_full_knows_exactly_what_was_recorded(steps):
    """Depths are those of a model that keeps every prefix, after any records, losses, joins and departures."""
    table = table_of(20_000)
    model = {name: set() for name in NAMES}
    for kind, *arguments in steps:
        if kind == "record" and arguments[0] in table.bits:
            name, prompt = arguments
            table.record(name, table.find(prompt_blocks(prompt, 16)[0]))
            model[name] |= {prompt[:end] for end in range(16, len(prompt) + 1, 16)}
        elif kind == "forget" and arguments[0] in table.bits:
            table.forget(arguments[0])
            model[arguments[0]] = set()
        elif kind == "resize":
            table.resize(sorted(arguments[0]))
            model = {name: model.get(name, set()) if name in arguments[0] else set() for name in NAMES}
        for name in table.bits:
            for prompt in PROMPTS:
                known = [end for end in range(16, len(prompt) + 1, 16) if prompt[:end] in model[name]]
                assert depth(table, name, prompt_blocks(prompt, 16)[0]) == (max(known) // 16 if known else 0)


def test_a_look_up_finds_what_a_walk_over_all_blocks_finds():
    """Holders and depths found by bisection are those of each block looked up alone, in a table that is far from full."""
    rng, table = Random(11), table_of(40_000, [str(number) for number in range(6)])
    tree = [random_blocks(rng, 100)]
    shapes = set()
    for _ in range(400):
        trunk, at = rng.choice(tree), rng.randrange(100)
        prompt = np.concatenate([trunk[:at], random_blocks(rng, rng.randint(1, 100 - at))])
        tree.append(np.concatenate([prompt, random_blocks(rng, 100 - prompt.size)]))
        match = table.find(prompt)
        shapes.add(len(match.runs))
        for name, bit in table.bits.items():
            alone = [at + 1 for at in range(prompt.size) if table.find(prompt[at : at + 1]).depth(bit)]
            assert match.depth(bit) == max(alone, default=0), name
        table.record(rng.choice(list(table.bits)), match)
    assert {0, 1, 2, 3, 4} <= shapes


def test_of_blocks_that_want_one_place_the_first_of_the_prompt_gets_it():
    """A prompt of more blocks than the table has sets is found again from its first block on."""
    table = table_of(1, ["a"])
    table.capacity = 10_000
    prompt = random_blocks(Random(12), 400)
    table.record("a", table.find(prompt))
    table.record("a", table.find(random_blocks(Random(13), 1)))
    assert table.find(prompt).facts[0]


def test_the_least_recently_used_is_forgotten():
    """An endpoint believes no more than its capacity, by epochs, and of the newest 3/4 of it at least 85 % of prompts."""
    rng, table = Random(19), table_of(1_000, ["a", "b"])
    prompts = [random_blocks(rng, 10) for _ in range(300)]
    for prompt in prompts:
        table.record("a", table.find(prompt))
    depths = [depth(table, "a", prompt) for prompt in prompts]
    assert sum(depths) <= 1_000
    assert not any(depths[:200])
    newest = depths[-75:]
    assert sum(found >= 8 for found in newest) >= 0.85 * 75
    assert all(not depth(table, "b", prompt) for prompt in prompts)


def test_use_keeps_a_prompt():
    """A prompt that is used again and again is kept, however many others come."""
    rng, table = Random(3), table_of(1_000, ["a"])
    hot = random_blocks(rng, 20)
    for _ in range(500):
        table.record("a", table.find(hot))
        table.record("a", table.find(random_blocks(rng, 10)))
    assert depth(table, "a", hot) == 20


def test_an_endpoint_with_much_traffic_forgets_by_its_own_capacity():
    """What one endpoint is sent does not make another forget before its own time."""
    rng, table = Random(4), table_of(1_000, [str(number) for number in range(16)])
    quiet = random_blocks(rng, 50)
    table.record("0", table.find(quiet))
    busy = [random_blocks(rng, 50) for _ in range(100)]
    for prompt in busy:
        table.record("1", table.find(prompt))
    assert depth(table, "0", quiet) >= 48
    assert sum(depth(table, "1", prompt) for prompt in busy) <= 1_000


def test_a_slot_is_twelve_bytes_and_a_block_of_an_endpoint_at_most_sixteen():
    """The arrays of a table that grows and shrinks stay below 16 bytes a block and endpoint."""
    table = PrefixTable(10_000)
    counts = [*range(8, 65), *range(64, 7, -1)]
    for count in counts:
        table.resize([str(number) for number in range(count)])
        assert table.nbytes <= 16 * 10_000 * count, count


def test_memory_is_bounded():
    """Ten thousand endpoints of a million blocks take 50 MB."""
    table = PrefixTable(1_000_000)
    table.resize([str(number) for number in range(10_000)])
    assert table.nbytes <= 2**22 * 12


def test_nothing_is_lost_when_the_table_grows():
    """What was recorded for two endpoints is still known when there are sixteen."""
    rng, table = Random(5), table_of(1_000, ["a", "b"])
    prompts = [random_blocks(rng, 10) for _ in range(20)]
    for prompt in prompts:
        table.record("a", table.find(prompt))
    before = [depth(table, "a", prompt) for prompt in prompts]
    table.resize(["a", "b", *map(str, range(14))])
    assert [depth(table, "a", prompt) for prompt in prompts] == before


def test_stamps_that_run_over_lose_nothing():
    """After 65,536 epochs, what is in use is still known, and what was forgotten is still forgotten."""
    rng, table = Random(6), table_of(32, ["a"])
    kept, old = random_blocks(rng, 4), random_blocks(rng, 4)
    table.record("a", table.find(old))
    for number in range(70_000):
        table.record("a", table.find(np.array([rng.getrandbits(64)], dtype=np.uint64)))
        if number % 20 == 0:
            table.record("a", table.find(kept))
    assert depth(table, "a", kept) == 4
    assert depth(table, "a", old) == 0


def test_sets_of_holders_that_are_not_in_use_are_dropped(monkeypatch):
    """A table that has seen too many different sets of holders keeps those in use, and what they hold."""
    monkeypatch.setattr(_prefix_table, "MAX_HOLDER_SETS", 2_300)
    rng, names = Random(7), [str(number) for number in range(12)]
    table = table_of(50, names)
    for _ in range(1_500):
        prompt = random_blocks(rng, 1)
        for name in rng.sample(names, rng.randint(1, 12)):
            table.record(name, table.find(prompt))
        assert depth(table, name, prompt) == 1


def test_only_endpoints_of_the_table_can_be_forgotten():
    """Forgetting an endpoint whose name is not in the table raises an error."""
    with pytest.raises(ConfigurationError, match="name='z'"):
        table_of(10).forget("z")
    with pytest.raises(ConfigurationError, match="capacity="):
        PrefixTable(0)
