"""Prompts as blocks: one 64-bit number for each leading part of a prompt.

A prompt is cut into blocks of equal size. As in the caches of model servers, the remainder at the end is not a block, because
it changes in the next turn of a conversation. Only a prompt shorter than a block is a block by itself. The number of a block
identifies the prompt *up to and including* it, so equal numbers mean equal prefixes. The common blocks of two prompts are
therefore a leading part of both.

=============  ================================================================
``str``        its UTF-8 bytes
``bytes``      unchanged; :func:`token_key` turns token ids into bytes
``int``        its low 64 bits, as one block
=============  ================================================================

Cost: 3 microseconds per prompt and 0.05 microseconds per 256 bytes, a fifth of chained MurmurHash3, because two array
operations hash all blocks.

*When not to use it:* as a secret. A caller that can guess prompts can detect by timing which prompts others have sent, and
can direct requests to an endpoint. Two different blocks of 256 bytes have equal numbers with a probability of at most 2**-30.

Source: multilinear hashing (Lemire and Kaser 2014, *Strongly universal string hashing is fast*) for whole blocks, without a
modulus. Words and factors are small enough for exact sums in double precision, the fastest arithmetic of processors.
MurmurHash3 is used for short prompts. As in vLLM and Dynamo, the number of a block includes the blocks before it; here they
are multiplied by a factor of their position and added up.
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
"""The most blocks of one prompt, 131,072 tokens in blocks of 64, as in llm-d; later blocks are ignored."""
MAX_TOKEN: Final = 2**32 - 1
EXACT_BITS: Final = 53
"""The bits up to which double precision represents every integer (IEEE 754)."""
WORD_BITS: Final = 16

_POSITIONS: Final[Blocks] = mix64(np.arange(MAX_BLOCKS, dtype=np.uint64)) | np.uint64(1)
"""An odd factor for each position."""
_SHORT: Final = 0x5BD1_E995
"""The seed, with the length, of the hash of prompts shorter than a block, so that they equal no whole block."""
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
        Included in all numbers, because the cache of one model is of no use to another.

    Returns
    -------
    tuple
        At most 2,048 numbers, and the length, which is at least 1 and includes the remainder as a fraction.

    Raises
    ------
    ConfigurationError
        If the prompt is not text, bytes or an integer, or the block is not a multiple of 8.

    Example
    -------
    >>> from balancekit.inference import prompt_blocks
    >>> first, length = prompt_blocks(b"You are a pirate. Hello!", 8)
    >>> other, _ = prompt_blocks(b"You are a pirate. Goodbye", 8)
    >>> length, (first == other[:3]).tolist()
    (3.0, [True, True, False])
    """
    size = valid.integer("block", block, minimum=8)
    return number_blocks(key, size, valid.integer("seed", seed, minimum=0))


def number_blocks(key: Key, block: int, seed: int) -> tuple[Blocks, float]:
    """Return the result of :func:`prompt_blocks` without checking the arguments."""
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

    There is one integer for every two bytes of a block, small enough for exact sums.
    """
    numbers = mix64(np.arange(block // 2, dtype=np.uint64))
    return (numbers >> np.uint64(64 - _factor_bits(block))).astype(np.float64)


def _factor_bits(block: int) -> int:
    """Return the bits of a factor: those of an exact sum, minus those of a word and of the number of words."""
    return EXACT_BITS - WORD_BITS - (block // 2 - 1).bit_length()


@checked_arguments
def prompt_key(prompt: str | bytes | Sequence[int], *, model: str = "", adapter: str = "") -> bytes:
    """Return the key of a prompt for one model and one of its LoRA adapters.

    Parameters
    ----------
    prompt
        Text, bytes or token ids.
    model, adapter
        The names; prompts for different models or adapters share nothing.

    Example
    -------
    >>> from balancekit.inference import prompt_key
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
        If one is not an integer from 0 to ``2**32 - 1``.

    Example
    -------
    >>> from balancekit.inference import token_key
    >>> len(token_key([101, 7592, 102]))
    12
    """
    return _token_bytes("tokens", tokens, "token ids")


def _token_bytes(parameter: str, tokens: Iterable[int] | NDArray[np.integer[Any]], what: str) -> bytes:
    """Return token ids as bytes, or raise an error that names their parameter and the allowed values."""
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
