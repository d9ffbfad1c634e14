"""Standings: which endpoints are up, and until when at least.

A policy calls one function, ``standings(id) -> Standing``. Here are three: a mapping, a balancer's snapshot,
and (in ``_observers``) the results of checks from several places.

``until`` is what makes a TTL honest: a monitor that needs two more failures, 5 s apart, to call an endpoint
down cannot change its mind in the next 5 s, so an answer that rests on it may be cached that long.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import NamedTuple, Protocol, Self, TypeAlias, final

from balancekit._support import validation as valid
from balancekit._support.arguments import checked_arguments
from balancekit.errors import ConfigurationError

__all__ = ["Standing", "Standings", "fixed_standings", "read_standing", "standings_of"]


class _Standing(NamedTuple):
    """The fields of a :class:`Standing`, whose values are not checked."""

    up: bool
    until: float = math.inf


class Standing(_Standing):
    """Whether an endpoint may be answered, and until when that cannot change.

    Parameters
    ----------
    up
        True or False.
    until
        Seconds on the clock of ``now``; infinity if nothing is known to be able to change it.

    Raises
    ------
    ConfigurationError
        If ``up`` is neither, or ``until`` is no number.

    Example
    -------
    >>> from fractions import Fraction
    >>> from balancekit.gslb import Standing
    >>> Standing(up=True, until=Fraction(5, 2))
    Standing(up=True, until=2.5)
    """

    __slots__ = ()

    def __new__(cls, up: bool, until: float = math.inf) -> Self:  # noqa: FBT001 - a field
        """Make one, with a number of any class as a ``float``."""
        if until.__class__ is not float or math.isnan(until):
            until = valid.number("until", until, infinite=True)
        return super().__new__(cls, valid.flag("up", up), until)


Standings: TypeAlias = Callable[[str], Standing]
"""The standing of an endpoint by id."""


def read_standing(standings: Standings, id: str) -> Standing:
    """Return what a function of the user says of an endpoint, if it is what it has to be.

    Raises
    ------
    ConfigurationError
        If it is no :class:`Standing`.
    """
    standing = standings(id)
    if not isinstance(standing, Standing):
        raise ConfigurationError(
            "standings", standing, f"a function that returns a Standing; this is of {id!r}"
        )
    return standing


UP = Standing(up=True)
DOWN = Standing(up=False)


@checked_arguments
def fixed_standings(standings: Mapping[str, bool | Standing], /, *, default: bool = True) -> Standings:
    """Return standings that are what a mapping says.

    Parameters
    ----------
    standings
        By id: up or not, or a whole :class:`Standing`.
    default
        Whether an id that the mapping does not name is up.

    Raises
    ------
    ConfigurationError
        If a value is neither a bool nor a ``Standing``.

    Example
    -------
    >>> from balancekit.gslb import fixed_standings
    >>> standings = fixed_standings({"eu-1": False})
    >>> standings("eu-1").up, standings("eu-2").up
    (False, True)
    """
    known = {
        id: (UP if value else DOWN) if isinstance(value, bool) else value for id, value in standings.items()
    }
    for id, value in known.items():
        if not isinstance(value, Standing):
            raise ConfigurationError("standings", value, f"True, False or a Standing for {id!r}")
    other = UP if default else DOWN
    return _Known(known, other)


class HasEligible(Protocol):
    """What :func:`standings_of` reads of a snapshot."""

    @property
    def eligible(self) -> tuple[HasId, ...]:
        """The nodes that may be picked now."""
        ...


class HasId(Protocol):
    """What :func:`standings_of` reads of a node."""

    @property
    def id(self) -> str:
        """The id of the endpoint."""
        ...


@checked_arguments
def standings_of(snapshot: HasEligible, /, *, until: Mapping[str, float] | None = None) -> Standings:
    """Return the standings in a balancer's published snapshot: what may be picked is up.

    An endpoint that is ejected, draining, cooling down, not yet checked (if the balancer's health policy
    keeps it out until then) or not a member is down.

    Parameters
    ----------
    snapshot
        A :class:`~balancekit.snapshot.Snapshot`, as selectors see it.
    until
        Per id, until when its standing cannot change, from the machines that decide it.

    Cost: O(n) here, one look-up per question.

    Example
    -------
    >>> from balancekit.gslb import standings_of
    >>> from balancekit.testing import make_nodes, make_snapshot
    >>> standings = standings_of(make_snapshot(["e0", "e1"]))
    >>> standings("e0").up, standings("stranger").up
    (True, False)
    """
    bounds = until or {}
    eligible = {node.id: Standing(up=True, until=bounds.get(node.id, math.inf)) for node in snapshot.eligible}
    down = {id: Standing(up=False, until=bound) for id, bound in bounds.items() if id not in eligible}
    known = {**eligible, **down}
    return _Known(known, DOWN)


@final
class _Known:
    """Standings that are known for some ids, and the same for all others. Immutable; can be pickled."""

    __slots__ = ("_known", "_other")

    def __init__(self, known: Mapping[str, Standing], other: Standing) -> None:
        self._known = known
        self._other = other

    def __call__(self, endpoint: str, /) -> Standing:
        return self._known.get(endpoint, self._other)
