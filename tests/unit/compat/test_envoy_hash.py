"""Keys and labels hash as published, and a request's values combine as Envoy combines them."""

from __future__ import annotations

import random

import pytest

from balancekit.compat.envoy import (
    Header,
    QueryParameter,
    Request,
    SourceAddress,
    key_hash,
    murmur64,
    request_hash,
    xxh64,
)
from balancekit.compat.envoy._hash import xxh64_in_python
from balancekit.errors import ConfigurationError

# From the documentation of the PyPI package xxhash (2.0 and later) and of the reference implementation.
XXH64 = [
    (b"", 0, 0xEF46DB3751D8E999),
    (b"a", 0, 0xD24EC4F1A98C6E5B),
    (b"abc", 0, 0x44BC2CF5AD770999),
    (b"xxhash", 20141025, 0xB559B98D844E0635),
    (b"Nobody inspects the spammish repetition", 0, 0xFBCEA83C8A378BF1),
]

# From Apache Kudu, src/kudu/util/hash_util-test.cc, TestMurmur2Hash64: its MurmurHash2_64 is variant A.
MURMUR64 = [
    (b"ab", 0, 7115271465109541368),
    (b"abcdefg", 0, 2601573339036254301),
    (b"quick brown fox", 42, 3575930248840144026),
]


@pytest.mark.parametrize(("data", "seed", "expected"), XXH64)
def test_xxh64_gives_the_published_values(data, seed, expected):
    """Both implementations of xxh64 give the published values."""
    assert xxh64_in_python(data, seed) == expected
    assert xxh64(data, seed) == expected


def test_the_implementations_of_xxh64_agree():
    """The implementations of xxh64 agree for every length around the block boundaries, with any seed."""
    fast = pytest.importorskip("xxhash").xxh64_intdigest
    rng = random.Random(7)
    for length in range(140):
        data, seed = rng.randbytes(length), rng.getrandbits(64)
        assert xxh64_in_python(data, seed) == fast(data, seed)


@pytest.mark.parametrize(("data", "seed", "expected"), MURMUR64)
def test_murmur64_gives_the_published_values(data, seed, expected):
    """murmur64 gives the published values of a word and a tail, a tail only, and two seeds."""
    assert murmur64(data, seed) == expected


def test_the_default_seed_of_murmur64_is_the_c_libraries():
    """The default seed of murmur64 gives the hash of "hello" by the C++ standard library on 64-bit Linux."""
    assert murmur64(b"hello") == 2762169579135187400


@pytest.mark.parametrize("key", [None, 1.5, True, ["a"]])
def test_a_key_is_text_bytes_or_a_position(key):
    """A key is text, bytes or a position, and anything else is refused by name."""
    with pytest.raises(ConfigurationError, match="key"):
        key_hash(key)


def test_policies_combine_by_rotating_and_xor():
    """Each next value is mixed into the rotated hash of those before."""
    request = Request(headers={"x-a": "one"}, query={"q": "two"}, source="10.0.0.1")
    policies = [Header(name="X-A"), QueryParameter(name="q"), SourceAddress()]
    expected = 0
    for value in (b"one", b"two", b"10.0.0.1"):
        expected = ((expected << 1 | expected >> 63) & 2**64 - 1) ^ xxh64(value)
    assert request_hash(policies, request) == expected


def test_equal_values_do_not_cancel_out():
    """The same value twice does not have the hash of no value."""
    policies = [Header(name="a"), Header(name="b")]
    assert request_hash(policies, Request(headers={"a": "x", "b": "x"})) not in {0, None, xxh64(b"x")}


def test_missing_values_are_passed_over_and_empty_ones_count():
    """A missing value makes no hash, and an empty value makes one."""
    policies = [Header(name="a"), QueryParameter(name="b"), SourceAddress()]
    assert request_hash(policies, Request(query={"b": "v"})) == xxh64(b"v")
    assert request_hash(policies, Request(headers={"a": ""})) == xxh64(b"")
    assert request_hash(policies, Request()) is None


def test_a_terminal_policy_ends_the_list_once_there_is_a_hash():
    """A terminal policy ends the list once there is a hash, also one of a policy before it; without one it does not."""
    both = Request(headers={"a": "1", "b": "2"})
    ends_with_a = [Header(name="a", terminal=True), Header(name="b")]
    assert request_hash(ends_with_a, both) == xxh64(b"1")
    assert request_hash(ends_with_a, Request(headers={"b": "2"})) == xxh64(b"2")
    nothing_there = [Header(name="a"), Header(name="c", terminal=True), Header(name="b")]
    assert request_hash(nothing_there, both) == xxh64(b"1")


@pytest.mark.parametrize(
    "make",
    [
        lambda: Request(headers={"a": 1}),
        lambda: Request(query="a=b"),
        lambda: Request(source=None),
        lambda: Header(name=""),
        lambda: QueryParameter(name="q", terminal=1),
        lambda: SourceAddress(terminal="yes"),
    ],
)
def test_bad_requests_and_policies_are_refused(make):
    """Each wrong value raises ConfigurationError at construction."""
    with pytest.raises(ConfigurationError):
        make()
