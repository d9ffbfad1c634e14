"""One encoding for three key types, the same on every machine."""

from __future__ import annotations

import os
import subprocess
import sys

import mmh3
import pytest

from balancekit import ConfigurationError
from balancekit.hashing import hash32, hash64
from balancekit.hashing._keys import splitmix64

SPLITMIX64 = [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4, 0x06C45D188009454F, 0xF88BB8A8724C81EC]
"""The first outputs of splitmix64 seeded with 0: Vigna's splitmix64.c, as published with xoshiro."""
GAMMA = 0x9E3779B97F4A7C15


def test_splitmix64_is_the_published_one():
    """The mixer over multiples of the golden gamma is the generator."""
    assert [splitmix64(k * GAMMA & (2**64 - 1)) for k in range(4)] == SPLITMIX64


def test_text_is_hashed_as_its_utf8_bytes():
    """So a key means the same whether it was decoded or not."""
    for text in ("", "user:1", "naïve", "日本"):
        for function in (hash32, hash64):
            assert function(text) == function(text.encode())


def test_the_hash_is_murmur3():
    """Seed 0, x86 32 bits; the low half of x64 128 bits."""
    assert hash32(b"hello") == 0x248BFA47
    assert hash64(b"hello") == mmh3.hash64(b"hello", 0, signed=False)[0]


def test_integers_take_the_low_64_bits():
    """Negative numbers as two's complement; nothing is an error for being large."""
    assert hash64(-1) == hash64(2**64 - 1)
    assert hash64(2**64) == hash64(0)
    assert hash32(5) == hash64(5) >> 32


@pytest.mark.parametrize("key", [None, True, 1.5, ("a",), object()])
def test_other_types_are_refused(key):
    """Never Python's own ``hash``, so nothing that only has that."""
    for function in (hash32, hash64):
        with pytest.raises(ConfigurationError, match="key="):
            function(key)


def test_positions_are_the_same_in_every_process():
    """Whatever PYTHONHASHSEED says."""
    code = "from balancekit.hashing import hash32, hash64; print(hash32('k'), hash64('k'), hash64(7))"
    seen = {
        subprocess.check_output(
            [sys.executable, "-c", code], env=os.environ | {"PYTHONHASHSEED": seed}, timeout=20
        )
        for seed in ("0", "1", "123")
    }
    assert len(seen) == 1
