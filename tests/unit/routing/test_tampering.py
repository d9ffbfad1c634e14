"""A hundred thousand sticky values that were never issued: none is accepted, none raises anything else."""

from __future__ import annotations

from random import Random

import pytest

from balancekit import LoadBalancer
from balancekit.errors import ConfigurationError, StickyValueError
from balancekit.routing import Sticky, StickyValues

OURS, OLD, THEIRS = b"ours: sixteen or more", b"old: sixteen or more", b"theirs: sixteen or more"
IDS = ["a", "10.0.0.1:8080", "endpoint-with-a-long-name" * 3, "ключ", "x\0y"]


def tampered(rng):
    """Yield values that look like ours and are not."""
    values = StickyValues("orders", [OURS])
    foreign = StickyValues("orders", [THEIRS])
    elsewhere = StickyValues("payments", [OURS])
    while True:
        id = rng.choice(IDS)
        good = values.issue(id)
        kind = rng.randrange(8)
        if kind == 0:  # one bit
            place = rng.randrange(len(good))
            flipped = chr(ord(good[place]) ^ 1 << rng.randrange(7))
            yield good[:place] + flipped + good[place + 1 :]
        elif kind == 1:  # cut short
            yield good[: rng.randrange(len(good))]
        elif kind == 2:
            yield foreign.issue(id)
        elif kind == 3:
            yield elsewhere.issue(id)
        elif kind == 4:  # signed for another id
            other = values.issue(rng.choice([one for one in IDS if one != id]))
            yield good.partition(".")[0] + "." + other.partition(".")[2]
        elif kind == 5:  # other characters
            place = rng.randrange(len(good))
            yield good[:place] + rng.choice("é\u0660\ud800\n\0=+/ .%") + good[place + 1 :]
        elif kind == 6:  # longer
            yield good + rng.choice(["A", "=", ".", good, " ", "\n"])
        else:  # anything
            yield "".join(chr(rng.randrange(1, 0x250)) for _ in range(rng.randrange(60)))


def test_a_hundred_thousand_forgeries_are_refused():
    """Each of 100 000 forgeries raises StickyValueError.

    They are bit flips, truncations, other keys, pools and ids, and odd characters.
    """
    values, rng = StickyValues("orders", [OURS, OLD]), Random(17)
    source = tampered(rng)
    genuine = {values.issue(id) for id in IDS}
    refused = 0
    while refused < 100_000:
        value = next(source)
        if value in genuine:
            continue
        with pytest.raises(StickyValueError):
            values.read(value)
        refused += 1


@pytest.mark.parametrize("value", [None, b"bytes", 7, True, ["a"], object(), "", ".", "..", "a" * 10_000])
def test_what_is_no_value_at_all_is_refused_the_same_way(value):
    """A value of another type, or no value at all, raises StickyValueError as forgeries do."""
    with pytest.raises(StickyValueError):
        StickyValues("orders", [OURS]).read(value)


@pytest.mark.parametrize("id", IDS)
def test_a_value_is_good_in_its_own_pool_only(id):
    """The same secret and the same id in another pool is another value."""
    ours, other = StickyValues("orders", [OURS]), StickyValues("payments", [OURS])
    assert ours.issue(id) != other.issue(id)
    with pytest.raises(StickyValueError):
        ours.read(other.issue(id))


def test_secrets_rotate():
    """The first secret signs, the others are accepted, and those that are gone are refused."""
    before, during, after = (StickyValues("p", secrets) for secrets in ([OLD], [OURS, OLD], [OURS]))
    for id in IDS:
        assert during.read(before.issue(id)) == id
        assert during.issue(id) == after.issue(id)
        with pytest.raises(StickyValueError):
            after.read(before.issue(id))


def test_a_forged_value_in_a_request_is_as_none():
    """A request with a forged sticky value is balanced as if it had none."""
    balancer = LoadBalancer(["a", "b"], selector=Sticky(StickyValues("p", [OURS])))
    source = tampered(Random(1))
    for _ in range(200):
        with balancer.acquire(attributes={"sticky": next(source)}) as lease:
            assert lease.target in {"a", "b"}
    told = balancer.explain(attributes={"sticky": "forged"})
    assert told.notes[0].endswith("balanced again")


def test_a_value_belongs_to_one_pool_only():
    """A pool's name cannot be chosen so that the values of one pool are good for another: NUL is refused."""
    with pytest.raises(ConfigurationError, match="pool="):
        StickyValues("a\0b", [b"sixteen secrets!"])


def test_every_value_that_is_issued_can_be_read_back():
    """An id whose value would be longer than values may be is refused by name when the value is issued."""
    values = StickyValues("orders", [b"sixteen secrets!"])
    for id in ("x" * 3039, "ü" * 1519):
        assert len(values.issue(id)) <= 4096
        assert values.read(values.issue(id)) == id
    for id in ("x" * 3040, "ü" * 1520, "\udcff"):
        with pytest.raises(ConfigurationError, match="id="):
            values.issue(id)
