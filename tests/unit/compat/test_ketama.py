"""libketama's ring: the owners that another implementation gives."""

from __future__ import annotations

from collections import Counter

import pytest

from balancekit import ConfigurationError
from balancekit.compat.ketama import Ketama

EQUAL = {f"10.0.1.{k}:11211": 1 for k in range(1, 6)}
WEIGHTED = {"10.0.1.1:11211": 600, "10.0.1.2:11211": 300, "10.0.1.3:11211": 200}


@pytest.mark.parametrize(
    ("servers", "owners"),
    [(EQUAL, "155551343552551321314215"), (WEIGHTED, "111111112122111321311212")],
)
def test_owners_are_those_of_uhashring_in_its_ketama_mode(servers, owners):
    """Owners are those of uhashring 2.5 in its ketama mode, for keys user:0 to user:23."""
    ring = Ketama(servers)
    assert "".join(ring.lookup(f"user:{k}")[7] for k in range(24)) == owners


def test_candidates_begin_with_the_owner_and_name_each_once():
    """Candidates begin with the owner, name each server once, and are in the order of the ring."""
    ring = Ketama(EQUAL)
    for k in range(50):
        found = list(ring.candidates(f"key-{k}"))
        assert found[0] == ring.lookup(f"key-{k}".encode())
        assert sorted(found) == sorted(EQUAL)


def test_weights_are_relative():
    """Weights are relative: 600, 300 and 200 of 1 100 are 65, 32 and 21 digests, four points each."""
    ring = Ketama(WEIGHTED)
    assert Counter(ring._owners) == {
        "10.0.1.1:11211": 4 * 65,
        "10.0.1.2:11211": 4 * 32,
        "10.0.1.3:11211": 4 * 21,
    }


@pytest.mark.parametrize("servers", [{}, [], None, "a", {"": 1}, {"a": 0}, {"a": 1.5}, {"a": True}, {1: 1}])
def test_wrong_servers_are_refused(servers):
    """Each wrong value raises ConfigurationError, which names the parameter."""
    with pytest.raises(ConfigurationError, match=r"servers=|weight="):
        Ketama(servers)


def test_wrong_keys_are_refused():
    """A key that is a number is refused, as libketama hashes bytes."""
    with pytest.raises(ConfigurationError, match="key=5"):
        Ketama(EQUAL).lookup(5)
