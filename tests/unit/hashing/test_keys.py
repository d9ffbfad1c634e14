"""Hash functions: published values, one encoding, the same in every process, and secrets."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys

import pytest

from balancekit.errors import ConfigurationError
from balancekit.hashing import HashRing, hash32, hash64, hash_function, keyed

PROGRAM = """
from balancekit.hashing import *
nodes = ["n%d" % n for n in range(40)]
import sys
nodes = nodes[::int(sys.argv[1])]
made = [HashRing(nodes, vnodes=20), MaglevTable(nodes, size=1009), RendezvousHash(nodes), AnchorHash(nodes),
        MultiProbeHash(nodes, probes=4), RendezvousHash({n: 1 + len(n) for n in nodes}),
        HashRing(nodes, hash=keyed(b"0" * 16)), HashRing(nodes, hash="xxhash")]
for one in made:
    print([one.lookup(k) for k in (*range(100), *["key:%d" % k for k in range(100)])])
"""
OWNERS = "4737d8a3"
"""The first digits of the SHA-256 of what the program prints: owners never change within a major version."""


@pytest.mark.parametrize("name", ["murmur3", "xxhash", "blake2b"])
def test_text_is_its_utf8_bytes(name):
    """Text is hashed as its UTF-8 bytes by every function, for keys and for ids."""
    function = hash_function(name)
    for text in ("", "a", "ключ", "x" * 1000):
        assert function.hash32(text) == function.hash32(text.encode())
        assert function.hash64(text) == function.hash64(text.encode())
        assert 0 <= function.hash32(text) < 2**32
        assert 0 <= function.hash64(text) < 2**64
    assert name in repr(function)


@pytest.mark.parametrize(
    ("name", "key", "position"),
    [
        ("murmur3", b"", 0),
        ("murmur3", b"hello", 0x248BFA47),
        ("murmur3", b"The quick brown fox jumps over the lazy dog", 0x2E4FF723),
        ("xxhash", b"", 0x02CC5D05),
        ("xxhash", b"a", 0x550D7456),
        ("murmur3", 0, 0xE220A839),
    ],
)
def test_published_values(name, key, position):
    """The functions give published values: SMHasher's, xxHash's, and splitmix64's first for integers."""
    assert hash_function(name).hash32(key) == position


def test_the_default_is_murmur3():
    """The default hash function is murmur3, by name and by the short functions."""
    for key in ("user:1", b"\0", 5, -5):
        assert hash_function().hash32(key) == hash32(key)
        assert hash_function("murmur3").hash64(key) == hash64(key)


@pytest.mark.parametrize("name", ["md5", "", None, 3, b"murmur3"])
def test_other_names_are_refused(name):
    """An unknown name of a hash function is refused, with the list of those there are."""
    with pytest.raises(ConfigurationError, match="murmur3"):
        hash_function(name)


@pytest.mark.parametrize("secret", ["x" * 16, b"x" * 15, b"x" * 65, None, bytearray(16)])
def test_bad_secrets_are_refused_and_not_shown(secret):
    """A bad secret is refused by an error that does not show it."""
    with pytest.raises(ConfigurationError, match="16 to 64 bytes") as refused:
        keyed(secret)
    assert "xxxx" not in str(refused.value)


def test_the_keyed_function_is_blake2b():
    """The keyed function is hashlib's BLAKE2b, low 64 bits first."""
    secret = b"0123456789abcdef"
    digest = hashlib.blake2b(b"user:1", key=secret, digest_size=8).digest()
    assert keyed(secret).hash64("user:1") == int.from_bytes(digest, "little")
    assert keyed(secret).hash64(7) == keyed(secret).hash64((7).to_bytes(8, "little"))


def aimed(ring, victim, count):
    """Return keys that all belong to one node, as an attacker finds them who knows the ring."""
    return [key for key in range(200 * count) if ring.lookup(f"k{key}") == victim][:count]


def test_traffic_can_be_aimed_without_a_secret_and_not_with_one():
    """An attacker who guesses everything but the secret gets no more than the victim's part."""
    nodes = [f"n{number}" for number in range(10)]
    keys = aimed(HashRing(nodes), "n3", 500)
    plain = sum(HashRing(nodes).lookup(f"k{key}") == "n3" for key in keys)
    ring = HashRing(nodes, hash=keyed(b"only we know this secret"))
    hit = sum(ring.lookup(f"k{key}") == "n3" for key in keys)
    share = ring.shares()["n3"]
    assert plain == len(keys) == 500
    assert abs(hit - 500 * share) < 5 * (500 * share * (1 - share)) ** 0.5


def test_owners_are_the_same_in_every_process_and_for_every_order():
    """Owners are pinned by a digest, for any hash seed, order of nodes and version of Python."""
    digests = set()
    for seed, order in (("0", "1"), ("1", "-1"), ("4711", "1")):
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, order],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        )
        digests.add(hashlib.sha256(done.stdout.encode()).hexdigest()[:8])
    assert digests == {OWNERS}
