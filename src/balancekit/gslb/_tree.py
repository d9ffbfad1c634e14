"""Policies of a tree: queries are checked at its root, and answers where a user's policy gives them.

The policies of this package inherit :class:`TreePolicy`. Below the root, ``_decide`` of each child is called.

Cost: one check per query, and one per answer of a user's policy.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from random import Random
from typing import Final

from balancekit._support import validation as valid
from balancekit._support.arguments import checked_arguments
from balancekit._support.display import ConstructorRepr
from balancekit.errors import ConfigurationError, brief
from balancekit.gslb._fail_back import FailBackMachine
from balancekit.gslb._query import Answer, Exhausted, Policy, Query
from balancekit.gslb._standing import Standings

__all__ = ["TreePolicy", "checked_answer", "machines_of_both", "read_answer"]

MAX_SCOPE: Final = 128
"""Bits of an address of IPv6."""


class TreePolicy(ConstructorRepr, ABC):
    """A policy of this package: a tree of policies, or a leaf of one."""

    @checked_arguments
    def answer(
        self, query: Query, standings: Standings, /, *, now: float, rng: Random, explain: bool = False
    ) -> Answer:
        """Return the answer for one query. The parameters are those of :meth:`Policy.answer`."""
        return self._decide(query, standings, now, rng, explain=explain)

    @abstractmethod
    def _decide(
        self, query: Query, standings: Standings, now: float, rng: Random, *, explain: bool
    ) -> Answer:
        """Return the same for arguments that the root of the tree has checked."""

    @abstractmethod
    def members(self) -> frozenset[str]:
        """Return the ids of all endpoints below."""

    def _below(self) -> tuple[Mapping[str, Policy], Mapping[str, FailBackMachine]]:
        """Return the policies of the sites of a policy by name, and their fail-back machines."""
        return {}, {}


def machines_of_both(
    new: Mapping[str, Policy], old: Mapping[str, Policy]
) -> Iterator[tuple[FailBackMachine, FailBackMachine]]:
    """Yield the fail-back machines of two trees for each site that both have in one place."""
    for name in new.keys() & old.keys():
        one, other = new[name], old[name]
        if one is not other and isinstance(one, TreePolicy) and isinstance(other, TreePolicy):
            (children, machines), (past_children, past) = one._below(), other._below()
            for site in machines.keys() & past.keys():
                yield machines[site], past[site]
            yield from machines_of_both(children, past_children)


def read_answer(
    policy: Policy, query: Query, standings: Standings, *, now: float, rng: Random, explain: bool = False
) -> Answer:
    """Return the answer of a policy. That of a user's policy is checked.

    Raises
    ------
    ConfigurationError
        If it is no :class:`Answer`, or one whose ids, seconds, scope or word cannot be.
    """
    if isinstance(policy, TreePolicy):
        return policy._decide(query, standings, now, rng, explain=explain)
    answer = policy.answer(query, standings, now=now, rng=rng, explain=explain)
    if not isinstance(answer, Answer):
        raise ConfigurationError("answer", answer, f"an Answer of {type(policy).__name__}.answer()")
    return checked_answer(answer)


def checked_answer(answer: Answer) -> Answer:
    """Return an answer that a user's policy may have made, with plain numbers, if it is what it has to be.

    Raises
    ------
    ConfigurationError
        For ids, seconds, a scope or a word that no answer can have.
    """
    chosen, ttl, scope, word, _ = answer
    if not isinstance(chosen, tuple) or not all(isinstance(id, str) for id in chosen):
        raise ConfigurationError("chosen", chosen, _ids_wanted(chosen))
    seconds = valid.number("ttl", ttl, minimum=0.0, infinite=True)
    bits = valid.integer("scope", scope, minimum=0, maximum=MAX_SCOPE)
    if word is not None and word.__class__ is not Exhausted:
        raise ConfigurationError("exhausted", word, f"None, or {valid.members(Exhausted)}")
    return answer if seconds is ttl and bits is scope else answer._replace(ttl=seconds, scope=bits)


def _ids_wanted(chosen: object) -> str:
    """Return what the ids of an answer are; a text would be read letter by letter."""
    return f"a tuple of endpoint ids{f', such as ({brief(chosen)},)' if isinstance(chosen, str) else ''}"
