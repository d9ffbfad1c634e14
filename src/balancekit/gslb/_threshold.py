"""Thresholds and exhaustion: how much must be up, exactly, and what is answered if it is not.

A share given as ``0.07`` means seven hundredths: of 100 endpoints it needs 7. In binary floating point
``0.07 * 100`` is a little more than 7, so that 8 would be needed; ``compat.gdnsd`` counts so, for gdnsd does.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction
from typing import TypeVar

from balancekit._support import validation as valid
from balancekit.errors import ConfigurationError
from balancekit.gslb._query import Answer, Exhausted, Step

__all__ = [
    "PREFIX4",
    "PREFIX6",
    "endpoint_ids",
    "endpoint_weights",
    "exhausted_answer",
    "exhausted_word",
    "share",
]

PREFIX4 = 24
"""Bits of an IPv4 client that public resolvers send at most (RFC 7871 section 11.1)."""
PREFIX6 = 56
"""Bits of an IPv6 client that public resolvers send at most (the same)."""

T = TypeVar("T", Fraction, int)


def share(parameter: str, value: object) -> Fraction:
    """Return a share in (0, 1] as the decimal fraction that it was written as; a ``Fraction`` as it is."""
    if isinstance(value, Fraction) and 0 < value <= 1:
        return value
    return Fraction(repr(valid.number(parameter, value, above=0.0, maximum=1.0)))


def needed(threshold: Fraction, total: int) -> int:
    """Return the least whole number that is at least ``threshold`` of ``total``."""
    return math.ceil(threshold * total)


def exhausted_word(value: object) -> Exhausted:
    """Return the member of :class:`Exhausted` that a value names."""
    return valid.member("exhausted", value, Exhausted)


def exhausted_answer(
    word: Exhausted, chosen: Iterable[str], ttl: float, scope: int = 0, steps: tuple[Step, ...] = ()
) -> Answer:
    """Return what stands when too little is up: ``chosen`` if the word is OPEN, nothing if not."""
    return Answer(tuple(chosen) if word is Exhausted.OPEN else (), ttl, scope, word, steps)


def endpoint_ids(parameter: str, value: object) -> tuple[str, ...]:
    """Return distinct ids, at least one, in the order given."""
    if isinstance(value, Sequence | frozenset | set | Mapping) and not isinstance(value, str | bytes):
        found = list(value)
        if found and all(isinstance(id, str) and id for id in found) and len(set(found)) == len(found):
            return tuple(found)
    raise ConfigurationError(parameter, value, "distinct endpoint ids (non-empty strings), at least one")


def endpoint_weights(parameter: str, value: object) -> dict[str, int]:
    """Return whole weights by id, at least one of them above zero."""
    if not isinstance(value, Mapping):
        raise ConfigurationError(parameter, value, "a mapping from endpoint ids to whole weights")
    found = {
        valid.text(parameter, id): valid.integer("weight", weight, minimum=0, maximum=valid.MAX_WEIGHT)
        for id, weight in value.items()
    }
    if not any(found.values()):
        raise ConfigurationError(parameter, value, "at least one weight > 0")
    return found
