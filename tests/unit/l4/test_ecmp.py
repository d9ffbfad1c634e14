"""Equal-cost multi-path: bounds, shares and exact disruption."""

from __future__ import annotations

import random
from collections import Counter
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from balancekit.errors import ConfigurationError
from balancekit.l4 import Ecmp

TOP = 2**31 - 1
METHODS = ("threshold", "modulo", "rendezvous")
GROUPS = st.dictionaries(st.sampled_from("abcdefgh"), st.integers(1, 9), min_size=1)


def names(count):
    """Return that many next hops."""
    return [f"n{number}" for number in range(count)]


def rfc_2992(size, place):
    """Return the share that moves when next hop ``place`` (from 1) of ``size`` goes: RFC 2992 section 2."""
    return Fraction((place - 1) * place + (size - place) * (size - place + 1), 2 * size * (size - 1))


@pytest.mark.parametrize("size", range(2, 17))
def test_disruption_of_hash_threshold_is_the_formula_of_rfc_2992(size):
    """The disruption of hash-threshold is the formula of RFC 2992.

    It holds as fractions, for every place in groups of up to 16.
    """
    group = Ecmp(names(size))
    for place in range(1, size + 1):
        fewer = Ecmp([name for name in names(size) if name != f"n{place - 1}"])
        assert group.disruption(fewer) == rfc_2992(size, place) == fewer.disruption(group)


@pytest.mark.parametrize("method", METHODS)
@given(ours=GROUPS, theirs=GROUPS, seed=st.integers(0, 99))
def test_disruption_is_what_flows_see(method, ours, theirs, seed):
    """Of 2,000 random hashes, the share that moves is the disruption.

    It is within 5 standard deviations and rounding of bounds.
    """
    one, other = Ecmp(ours, method), Ecmp(theirs, method)
    expected = float(one.disruption(other))
    assert one.disruption(other) == other.disruption(one)
    assert one.disruption(one) == 0
    rng = random.Random(seed)
    moved = sum(one.pick(value) != other.pick(value) for value in (rng.randrange(2**31) for _ in range(2000)))
    spread = (expected * (1 - expected) / 2000) ** 0.5
    assert abs(moved / 2000 - expected) <= 5 * spread + 1e-3


@pytest.mark.parametrize("method", METHODS)
def test_shares_are_the_weights(method):
    """Shares are the weights, exactly as fractions, and within 5 standard deviations in 20,000 hashes."""
    group = Ecmp({"a": 1, "b": 2, "c": 5}, method)
    assert group.shares() == {"a": Fraction(1, 8), "b": Fraction(1, 4), "c": Fraction(5, 8)}
    rng = random.Random(1)
    counts = Counter(group.pick(rng.randrange(2**31)) for _ in range(20_000))
    for id, share in group.shares().items():
        expected = float(share)
        assert abs(counts[id] / 20_000 - expected) < 5 * (expected * (1 - expected) / 20_000) ** 0.5


def test_a_bound_belongs_to_the_next_hop_before_it():
    """Next hop i has the hashes up to round(2^31 * cumulated weight / total) - 1, and the last has the top one."""
    group = Ecmp(["a", "b", "c"])
    bound = round(2**31 / 3) - 1
    assert [group.pick(value) for value in (0, bound, bound + 1, TOP)] == ["a", "a", "b", "c"]


def test_modulo_gives_neighbouring_hashes_to_the_slots_in_order():
    """Slot k belongs to the next hop whose cumulated weight first exceeds k."""
    group = Ecmp({"a": 2, "b": 1}, "modulo")
    assert [group.pick(value) for value in range(6)] == ["a", "a", "b", "a", "a", "b"]


def test_rendezvous_moves_only_what_it_must():
    """Without one of n, exactly its own 1/n moves; whatever the order of declaration."""
    assert Ecmp(names(7), "rendezvous").disruption(Ecmp(names(6), "rendezvous")) == Fraction(1, 7)
    assert Ecmp(["a", "b"], "rendezvous").disruption(Ecmp(["b", "a"], "rendezvous")) == 0
    assert Ecmp(["a", "b"]).disruption(Ecmp(["b", "a"])) == 1


@pytest.mark.parametrize(
    "members", [[], {}, "ab", b"ab", None, 7, ["a", "a"], [""], [1], {"a": 0}, {"a": 1.5}, {"a": True}]
)
def test_what_is_no_group_is_refused(members):
    """A group is refused if it is empty or has repeated ids or none.

    Weights that are not whole numbers from 1 on are refused.
    """
    with pytest.raises(ConfigurationError) as caught:
        Ecmp(members)
    assert caught.value.parameter in {"members", "weight"}


def test_other_mistakes_are_refused_by_name():
    """A method that is none, a hash outside 31 bits, and a comparison of different methods are refused by name."""
    for parameter, act in (
        ("method", lambda: Ecmp(["a"], "random")),
        ("hash31", lambda: Ecmp(["a"]).pick(2**31)),
        ("hash31", lambda: Ecmp(["a"]).pick(-1)),
        ("other", lambda: Ecmp(["a"]).disruption(Ecmp(["a"], "modulo"))),
        ("other", lambda: Ecmp(["a"]).disruption("a")),
    ):
        with pytest.raises(ConfigurationError) as caught:
            act()
        assert caught.value.parameter == parameter


def test_it_says_what_it_is():
    """The text of a group has its members in order with weights, its method and its size."""
    group = Ecmp({"b": 2, "a": 1})
    assert list(group.members.items()) == [("b", 2), ("a", 1)]
    assert (group.method, len(group), repr(group)) == ("threshold", 2, "<Ecmp threshold of 2 next hops>")
