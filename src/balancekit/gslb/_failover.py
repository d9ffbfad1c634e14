"""Failover: along a list of policies, at once or in proportion, and back after a hold-down.

The walk here serves :class:`Failover`, whose order is fixed, and ``Geo``, whose order depends on the client.
While shares move, each client subnet has a fixed point in [0, 1), so it changes its site once and not at every
query. The scope of such an answer is the prefix that was hashed.

Source: gdnsd ``metafo`` (3.8.1) for the walk; Envoy's priority load for the proportion
(:func:`balancekit.routing.tier_loads`); Route 53 failover routing.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from random import Random
from typing import Final, NamedTuple, final

from balancekit._support import validation as valid
from balancekit._support.arguments import checked_arguments
from balancekit._support.fork import new_lock
from balancekit.errors import ConfigurationError
from balancekit.gslb._fail_back import FailBack, FailBackMachine
from balancekit.gslb._hashed import subnet_point
from balancekit.gslb._query import Answer, Exhausted, Policy, Query, Step
from balancekit.gslb._standing import Standings, read_standing
from balancekit.gslb._threshold import exhausted_word
from balancekit.gslb._tree import TreePolicy, machines_of_both, read_answer

__all__ = ["Failover", "Walk", "child_policies", "continue_fail_backs"]

_OBSERVING: Final = new_lock()
"""Held for a step of a fail-back machine: answers come from any thread. One for all machines, so that policies can be copied."""


def child_policies(
    parameter: str, children: Mapping[str, Policy] | Iterable[tuple[str, Policy]]
) -> dict[str, Policy]:
    """Return policies by name, in order, from a mapping or from pairs."""
    found: dict[str, Policy] = {}
    try:
        pairs = list(children.items() if isinstance(children, Mapping) else children)
        for name, policy in pairs:
            allowed = "policies: objects with answer() and members()"
            valid.instance(parameter, policy, "answer", allowed=allowed)
            found[valid.text(parameter, name)] = policy
    except (TypeError, ValueError):
        raise ConfigurationError(parameter, children, "pairs of a name and a policy") from None
    if not found or len(found) < len(pairs):
        raise ConfigurationError(parameter, children, "at least one pair, with distinct names")
    return found


class _Portion(NamedTuple):
    """What one child gets."""

    load: float
    name: str
    answer: Answer


@final
class Walk:
    """Children that are tried in an order, each for the share it can take."""

    __slots__ = ("_members", "_overprovisioning", "_salt", "children", "machines", "word")

    def __init__(
        self,
        children: Mapping[str, Policy],
        *,
        fail_back: FailBack | None,
        overprovisioning: float | None,
        exhausted: Exhausted | str,
    ) -> None:
        if fail_back is not None and not isinstance(fail_back, FailBack):
            raise ConfigurationError("fail_back", fail_back, "a FailBack or None")
        self.children: Final = children
        self.machines: Final[dict[str, FailBackMachine]] = (
            {} if fail_back is None else {name: fail_back() for name in children}
        )
        self.word: Final = exhausted_word(exhausted)
        self._overprovisioning: Final = (
            None
            if overprovisioning is None
            else valid.number("overprovisioning", overprovisioning, minimum=1.0)
        )
        self._members: Final = {name: tuple(sorted(policy.members())) for name, policy in children.items()}
        self._salt: Final = "\0".join(children)

    def members(self) -> frozenset[str]:
        """Return the ids of all endpoints below."""
        return frozenset(id for ids in self._members.values() for id in ids)

    def below(self) -> tuple[Mapping[str, Policy], Mapping[str, FailBackMachine]]:
        """Return the children, and their machines."""
        return self.children, self.machines

    def answer(
        self,
        order: Iterable[str],
        query: Query,
        standings: Standings,
        now: float,
        rng: Random,
        explain: bool,  # noqa: FBT001 - passed on by every policy
    ) -> tuple[Answer, str]:
        """Return the answer of the child that gets this client, and why it is that one."""
        portions: list[_Portion] = []
        spare: _Portion | None = None
        first: Answer | None = None
        left, ttl, scope = 1.0, math.inf, 0
        notes: list[str] = []
        for name in order:
            answer = read_answer(self.children[name], query, standings, now=now, rng=rng, explain=explain)
            first = first or answer
            scope = max(scope, answer.scope)
            share, bound = self._share(name, answer, standings, now)
            ttl = min(ttl, answer.ttl, bound)
            load = min(left, share)
            if load > 0.0:
                portions.append(_Portion(load, name, answer))
            elif not answer.failed and spare is None:
                spare = _Portion(1.0, name, answer)
            if explain:
                notes.append(f"{name} {'failed' if answer.failed else 'up'}, load {load:.0%}")
            left -= load
            if left <= 1e-9:
                break
        if not portions and spare is not None:  # held down, and nothing else is up
            portions.append(spare)
        noted = ", ".join(notes)
        if not portions:
            chosen = first.chosen if first is not None and self.word is Exhausted.OPEN else ()
            steps = first.steps if first is not None else ()
            return Answer(chosen, ttl, scope, self.word, steps), f"{noted}: exhausted ({self.word})"
        taken = portions[0]
        if len(portions) > 1:
            point, prefix = subnet_point(query.client, self._salt)
            scope = max(scope, prefix)
            taken = _drawn(portions, point)
        _, name, answer = taken
        return answer._replace(ttl=ttl, scope=scope, steps=_below(name, answer.steps)), f"{noted}: {name}"

    def _share(self, name: str, answer: Answer, standings: Standings, now: float) -> tuple[float, float]:
        """Return the share that a child can take, and until when (in seconds) that holds."""
        bound = math.inf
        if answer.exhausted is Exhausted.CLOSED:
            return 1.0, bound
        share = 0.0 if answer.failed else 1.0
        if share and self._overprovisioning is not None:
            seen = [read_standing(standings, id) for id in self._members[name]]
            share = min(1.0, self._overprovisioning * sum(one.up for one in seen) / len(seen))
            bound = max(0.0, min(one.until for one in seen) - now)
        machine = self.machines.get(name)
        if machine is not None:
            with _OBSERVING:
                returned, deadline = machine.observe(up=share > 0.0, now=now), machine.deadline
            share *= returned
            if deadline is not None:
                bound = min(bound, max(0.0, deadline - now))
        return share, bound


def continue_fail_backs(new: Mapping[str, Policy], old: Mapping[str, Policy]) -> None:
    """Let each site with a fail-back go on as the site of the same place in other policies."""
    with _OBSERVING:
        for machine, past in machines_of_both(new, old):
            machine.continue_from(past)


def _drawn(portions: Sequence[_Portion], point: float) -> _Portion:
    """Return the portion at a point in [0, 1) of their sum."""
    left = point * sum(portion.load for portion in portions)
    for portion in portions:
        left -= portion.load
        if left < 0.0:
            return portion
    return portions[-1]


def _below(name: str, steps: tuple[Step, ...]) -> tuple[Step, ...]:
    return tuple([Step(f"{name}/{step.policy}", step.text) for step in steps])


@final
class Failover(TreePolicy):
    """The first policy in a list that has not failed.

    Parameters
    ----------
    children
        Pairs of a name and a policy, best first; or a mapping.
    fail_back
        How a child regains its traffic; ``None`` for all of it at once.
    overprovisioning
        With a number >= 1, a child gets ``min(1, overprovisioning * its share of endpoints up)`` and the rest
        goes to the next child; ``None``: all or nothing. 1.4 is Envoy's figure.
    exhausted
        What happens when all have failed. ``"open"`` gives the answer of the first.

    Raises
    ------
    ConfigurationError
        If ``children`` is empty or has a name twice, ``overprovisioning`` is below 1, or ``exhausted`` is
        another word.

    *Guarantee.* A child that has failed gets nothing while another has not. A child held down gets
    everything if no other is up. A subnet moves once as the shares move one way.

    With ``fail_back`` the policy keeps one machine per child, fed by its own answers: share one instance
    between threads, not between sets of standings.

    *When not to use it:* for endpoints rather than sites: :class:`PrimaryBackup`.

    Example
    -------
    >>> from balancekit.gslb import AllUp, Client, Failover, Query, fixed_standings
    >>> from random import Random
    >>> www = Failover([("eu", AllUp(["eu-1"])), ("us", AllUp(["us-1"]))], fail_back=None)
    >>> query = Query(name="www", client=Client(address="192.0.2.53"))
    >>> www.answer(query, fixed_standings({"eu-1": False}), now=0.0, rng=Random(1)).chosen
    ('us-1',)
    """

    @checked_arguments
    def __init__(
        self,
        children: Mapping[str, Policy] | Iterable[tuple[str, Policy]],
        *,
        fail_back: FailBack | None = FailBack(),  # noqa: B008 - immutable
        overprovisioning: float | None = None,
        exhausted: Exhausted | str = Exhausted.OPEN,
    ) -> None:
        self._walk: Final = Walk(
            child_policies("children", children),
            fail_back=fail_back,
            overprovisioning=overprovisioning,
            exhausted=exhausted,
        )

    def _decide(
        self, query: Query, standings: Standings, now: float, rng: Random, *, explain: bool
    ) -> Answer:
        """Return the answer of the child that gets this client."""
        walk = self._walk
        answer, noted = walk.answer(walk.children, query, standings, now, rng, explain)
        return answer._replace(steps=(Step("Failover", noted), *answer.steps)) if explain else answer

    @checked_arguments
    def members(self) -> frozenset[str]:
        """Return the ids of all endpoints below."""
        return self._walk.members()

    def _below(self) -> tuple[Mapping[str, Policy], Mapping[str, FailBackMachine]]:
        return self._walk.below()

    @property
    def machines(self) -> Mapping[str, FailBackMachine]:
        """The fail-back machine of each child; empty without ``fail_back``."""
        return self._walk.machines
