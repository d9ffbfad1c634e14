"""Prompts as blocks: one 64-bit number for each leading part of a prompt.

A prompt is cut into blocks of equal size. What is left at the end is no block, as in the caches of model servers: it differs in
the next turn of a conversation. Only a prompt shorter than a block is one by itself. The number of a block stands for the prompt
*up to and including* it: equal numbers mean equal beginnings. So the blocks that two prompts share are a leading part of both.

=============  ================================================================
``str``        its UTF-8 bytes
``bytes``      as they are; token ids become bytes by :func:`token_key`
``int``        its low 64 bits, as one block
=============  ================================================================

Cost: 0.05 microseconds for 256 bytes, a fifth of chained MurmurHash3, for all blocks are hashed by two array operations; and
3 microseconds a prompt.

*When not to use it:* as a secret. A caller that can guess prompts can find out, by timing, what others have sent, and can aim
requests at an endpoint. Two blocks of 256 bytes that differ have equal numbers with a probability of at most 2**-30.

Source: multilinear hashing (Lemire and Kaser 2014, *Strongly universal string hashing is fast*) for whole blocks, not modulo a
number: words and factors are so small that their products add up exactly in double precision, which processors do fastest;
MurmurHash3 for short prompts; as in vLLM and Dynamo, a block's number includes those before it: here they are multiplied by a
factor of their position and added up.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any, Final, TypeAlias

import mmh3
import numpy as np
from numpy.typing import NDArray

from balancekit._support import validation as valid
from balancekit._support.arguments import checked_arguments
from balancekit._support.splitmix import MASK64, splitmix64
from balancekit._support.splitmix_batch import mix64
from balancekit._support.text import to_bytes
from balancekit.errors import ConfigurationError
from balancekit.snapshot import Key

__all__ = ["Blocks", "prompt_blocks", "prompt_key", "token_key"]

Blocks: TypeAlias = NDArray[np.uint64]
"""One number for each block of a prompt."""

MAX_BLOCKS: Final = 2_048
"""Of one prompt; what comes later is not distinguished: 131,072 tokens in blocks of 64, as in llm-d."""
MAX_TOKEN: Final = 2**32 - 1
EXACT_BITS: Final = 53
"""Of integers that double precision has all (IEEE 754)."""
WORD_BITS: Final = 16

_POSITIONS: Final[Blocks] = mix64(np.arange(MAX_BLOCKS, dtype=np.uint64)) | np.uint64(1)
"""An odd factor for each position."""
_SHORT: Final = 0x5BD1_E995
"""Seeds the hash of prompts shorter than a block, with their length: they equal no whole block."""
_running_sum: Final = np.add.accumulate


@checked_arguments
def prompt_blocks(key: Key, block: int, seed: int = 0) -> tuple[Blocks, float]:
    """Return the numbers of a prompt's blocks, and its length in blocks.

    Parameters
    ----------
    key
        The prompt.
    block
        Bytes of a block, a multiple of 8.
    seed
        Goes into all numbers: what is cached for one model is of no use to another.

    Returns
    -------
    tuple
        At most 2,048 numbers; the length is at least 1, and a fraction if there is something left.

    Raises
    ------
    ConfigurationError
        If the prompt is neither text, bytes nor an integer, or the block no multiple of 8.

    Example
    -------
    >>> first, length = prompt_blocks(b"You are a pirate. Hello!", 8)
    >>> other, _ = prompt_blocks(b"You are a pirate. Goodbye", 8)
    >>> length, (first == other[:3]).tolist()
    (3.0, [True, True, False])
    """
    size = valid.integer("block", block, minimum=8)
    return number_blocks(key, size, valid.integer("seed", seed, minimum=0))


def number_blocks(key: Key, block: int, seed: int) -> tuple[Blocks, float]:
    """Return what :func:`prompt_blocks` does, without a check of the arguments."""
    data = key if isinstance(key, bytes) else _bytes_of(key)
    size = len(data)
    whole = size // block
    if whole > MAX_BLOCKS:
        whole, size = MAX_BLOCKS, MAX_BLOCKS * block
    if whole:
        words = np.ndarray((whole, block // 2), np.uint16, data).astype(np.float64)
        numbers = words.dot(_factors(block)).astype(np.uint64)
    else:
        only = mmh3.hash64(data, _SHORT ^ size << 8, signed=False)[0]
        numbers = np.array([only], dtype=np.uint64)
    if seed:
        numbers[:1] += np.uint64(splitmix64(seed))
    numbers *= _POSITIONS[: len(numbers)]
    return _running_sum(numbers), size / block if whole else 1.0


def _bytes_of(key: str | int) -> bytes:
    return to_bytes(key) if isinstance(key, str) else (int(key) & MASK64).to_bytes(8, "little")


@lru_cache(maxsize=16)
def _factors(block: int) -> NDArray[np.float64]:
    """Return the factors of multilinear hashing.

    An integer for each two bytes of a block, so small that sums are exact.
    """
    numbers = mix64(np.arange(block // 2, dtype=np.uint64))
    return (numbers >> np.uint64(64 - _factor_bits(block))).astype(np.float64)


def _factor_bits(block: int) -> int:
    """Return how many bits factors may have: those of an exact sum, less those of a word and of how many there are."""
    return EXACT_BITS - WORD_BITS - (block // 2 - 1).bit_length()


@checked_arguments
def prompt_key(prompt: str | bytes | Sequence[int], *, model: str = "", adapter: str = "") -> bytes:
    """Return the key of a prompt that is for one model, and for one LoRA adapter of it.

    Parameters
    ----------
    prompt
        Text, bytes or token ids.
    model, adapter
        Their names; prompts for different ones share nothing.

    Example
    -------
    >>> prompt_key("Hi", model="m") == prompt_key("Hi", model="m", adapter="french")
    False
    """
    if isinstance(prompt, str | bytes):
        data = to_bytes(prompt)
    else:
        data = _token_bytes("prompt", prompt, "text, bytes or token ids")
    if not model and not adapter:
        return data
    return b"\0".join([to_bytes(model), to_bytes(adapter), data])


def token_key(tokens: Iterable[int] | NDArray[np.integer[Any]]) -> bytes:
    """Return token ids as a key: four bytes each, so 64 of them fill a block of 256 bytes.

    Raises
    ------
    ConfigurationError
        If one is no integer from 0 to ``2**32 - 1``.

    Example
    -------
    >>> len(token_key([101, 7592, 102]))
    12
    """
    return _token_bytes("tokens", tokens, "token ids")


def _token_bytes(parameter: str, tokens: Iterable[int] | NDArray[np.integer[Any]], what: str) -> bytes:
    """Return token ids as bytes, or raise the error that names the parameter they were given as, and what it takes."""
    try:
        found = np.asarray(tokens if isinstance(tokens, np.ndarray) else valid.items(parameter, tokens))
    except (TypeError, ValueError, OverflowError):
        found = None
    if found is None or (
        found.size
        and (found.ndim != 1 or found.dtype.kind not in "iu" or found.min() < 0 or found.max() > MAX_TOKEN)
    ):
        raise ConfigurationError(parameter, tokens, f"{what}: integers from 0 to {MAX_TOKEN}")
    return found.astype("<u4").tobytes()
