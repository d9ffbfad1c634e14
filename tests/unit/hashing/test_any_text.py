"""Any text as a key: lone surrogates, huge integers, and the ids that are refused."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from balancekit import (
    BoundedLoad,
    ConfigurationError,
    Endpoint,
    LoadBalancer,
    MaglevHash,
    PowerOfChoices,
    RendezvousHash,
    RingHash,
    SourceHash,
)
from balancekit import hashing as h
from balancekit._support.text import to_bytes
from balancekit.compat import envoy, haproxy, nginx
from balancekit.compat.ketama import Ketama
from balancekit.discovery import InvalidTargetsError, parse_targets
from balancekit.routing import Canary, Priority

LONE = "\udcff"
HALF_AN_EMOJI = json.loads('"user \\ud83d"')
TEXTS = st.text(st.characters(), max_size=12) | st.text(
    st.characters(categories=["Cs"]), min_size=1, max_size=3
)
NODES = ["a", "b", "c"]
FUNCTIONS = ["murmur3", "xxhash", "blake2b", h.keyed(b"0123456789abcdef")]
STRUCTURES = {
    "HashRing": lambda function: h.HashRing(NODES, hash=function),
    "MaglevTable": lambda function: h.MaglevTable(NODES, size=251, hash=function),
    "RendezvousHash": lambda function: h.RendezvousHash(NODES, hash=function),
    "AnchorHash": lambda function: h.AnchorHash(NODES, hash=function),
    "JumpHash": lambda function: h.JumpHash(NODES, hash=function),
    "MultiProbeHash": lambda function: h.MultiProbeHash(NODES, hash=function),
}
ENDPOINTS = [Endpoint("a", metadata={"version": "2"}), Endpoint("b", priority=1), Endpoint("c", zone="z")]
SELECTORS = {
    "RingHash": RingHash,
    "MaglevHash": lambda: MaglevHash(size=251),
    "RendezvousHash": RendezvousHash,
    "BoundedLoad": BoundedLoad,
    "SourceHash": SourceHash,
    "PowerOfChoices": PowerOfChoices,
    "Canary": lambda: Canary({"version": "2"}, share=0.5),
    "Priority": Priority,
    "nginx hash": lambda: nginx.AsNginx(nginx.Hash()),
    "Envoy ring": envoy.RingHash,
    "Envoy Maglev": envoy.Maglev,
}


@pytest.mark.parametrize("function", FUNCTIONS, ids=str)
@given(TEXTS)
@example(LONE)
@example(HALF_AN_EMOJI)
def test_a_key_is_hashed_by_its_utf8_bytes_lone_surrogates_included(function, key):
    """The position of any string is that of its UTF-8 bytes, each lone surrogate as three bytes."""
    function, data = h.hash_function(function), key.encode("utf-8", "surrogatepass")
    assert function.hash32(key) == function.hash32(data)
    assert function.hash64(key) == function.hash64(data)


@given(TEXTS)
@example(LONE)
def test_the_short_functions_take_any_string(key):
    """``hash32`` and ``hash64`` agree with the default function for any string."""
    assert h.hash32(key) == h.hash_function().hash32(to_bytes(key))
    assert h.hash64(key) == h.hash_function().hash64(to_bytes(key))


@pytest.mark.parametrize("function", FUNCTIONS, ids=str)
@pytest.mark.parametrize("name", STRUCTURES)
def test_every_structure_takes_any_string(name, function):
    """The owner, the candidates and the batch agree on any string, and agree with its bytes."""
    structure = STRUCTURES[name](function)
    keys = [LONE, HALF_AN_EMOJI, "é", "", "\0", "plain", "x" * 100_000 + LONE]
    owners = [structure.lookup(key) for key in keys]
    assert owners == [structure.lookup(to_bytes(key)) for key in keys]
    assert [next(structure.candidates(key)) for key in keys] == owners
    nodes = list(structure.nodes)
    for batch in (keys, [to_bytes(key) for key in keys], ["plain", LONE], [b"plain", LONE], [LONE, 5]):
        found = structure.lookup_many(batch)
        assert [nodes[owner] for owner in found] == [structure.lookup(key) for key in batch]
    assert isinstance(structure.lookup_many(keys), np.ndarray)


@pytest.mark.parametrize("name", SELECTORS)
def test_every_way_to_ask_a_balancer_takes_any_string(name):
    """``acquire``, ``explain`` and the ranking accept any string and any integer as a key."""
    lb = LoadBalancer(ENDPOINTS, selector=SELECTORS[name]())
    for key in (LONE, HALF_AN_EMOJI, "é" + LONE, 10**5000, -(10**5000)):
        with lb.acquire(key) as lease:
            assert lease.endpoint.id in NODES
        assert str(lb.explain(key))
    assert lb.stats().inflight == 0


def test_compatible_servers_take_any_string():
    """HAProxy, nginx, Envoy and libketama hash the bytes of any string."""
    ring = Ketama({"a:1": 1, "b:1": 1})
    assert ring.lookup(LONE) == ring.lookup(to_bytes(LONE))
    for by in (haproxy.Header(), haproxy.UrlParam(), haproxy.Uri(depth=2, length=9)):
        assert by.of(LONE) == to_bytes(LONE)
    upstream = nginx.Upstream([nginx.Server(name="a:1"), nginx.Server(name="b:1")], method=nginx.Hash())
    assert upstream.request(LONE) is not None
    assert envoy.key_hash(LONE) == envoy.key_hash(to_bytes(LONE))


@pytest.mark.parametrize("bad", [LONE, "10.0.0.1:80" + LONE, HALF_AN_EMOJI])
@pytest.mark.parametrize(
    ("parameter", "make"),
    [
        ("id", Endpoint),
        ("id", lambda text: LoadBalancer(["a", text])),
        ("zone", lambda text: Endpoint("a", zone=text)),
        ("metadata", lambda text: Endpoint("a", metadata={"x": text})),
        ("metadata", lambda text: Endpoint("a", metadata={text: "x"})),
        ("nodes", lambda text: h.HashRing(["a", text])),
        ("nodes", lambda text: h.HashRing({text: 2.0})),
    ],
)
def test_an_id_that_cannot_be_sent_is_refused_by_name(parameter, make, bad):
    """A lone surrogate in an id, a zone or a label raises an error that names the parameter and can be printed."""
    with pytest.raises(ConfigurationError, match="surrogates") as caught:
        make(bad)
    assert caught.value.parameter == parameter
    str(caught.value).encode()


def test_a_listed_target_that_cannot_be_sent_is_refused_by_name():
    """A discovered list with a lone surrogate in a target is no list, and the error names the target."""
    with pytest.raises(InvalidTargetsError, match=r"x\\ud800:80"):
        parse_targets(b'[{"targets": ["10.0.0.1:80", "x\\ud800:80"]}]')
