"""Exhaustion policies: which endpoints serve if too few are healthy.

===================  ====================================================================
:class:`FailClosed`  none healthy: raise ``AllIneligibleError``, with the time to retry
:class:`FailOpen`    less than a share healthy: distrust health and use all endpoints
:class:`LeastBad`    none healthy: use the one that is due back soonest
===================  ====================================================================

*Why distrust health:* when most of a pool seems to be broken, a broken check or a shared dependency is likelier
than ten servers that died at once. And if the servers are overloaded, sending everything to the last two
overloads those too. A draining endpoint is never used: its drain was requested. Cooling down is not health: such
an endpoint is passed over while there is any other, and counts in no threshold.

Health alone never empties a pool: the last endpoint is not ejected. It takes a removal, a drain or a pool that
waits for its first checks.

Source: Envoy's panic threshold (50 %), AWS load balancers (fail open when all are unhealthy), Elastic's Python
client (resurrects the soonest).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from balancekit._support import validation as valid
from balancekit._support.record import Policy, field
from balancekit.endpoint import Endpoint
from balancekit.node import Node

__all__ = ["Choice", "ExhaustionPolicy", "FailClosed", "FailOpen", "LeastBad", "PoolMember"]


class PoolMember(Protocol):
    """One endpoint as an exhaustion policy sees it. A value: it does not change while the policy looks at it."""

    @property
    def node(self) -> Node:
        """The runtime record: load, requests in flight."""
        ...

    @property
    def endpoint(self) -> Endpoint[object]:
        """The configured endpoint."""
        ...

    @property
    def eligible(self) -> bool:
        """Whether it may be picked as far as health is concerned."""
        ...

    @property
    def ramping(self) -> bool:
        """Whether it takes less than its share."""
        ...

    @property
    def state(self) -> str:
        """The name of its health state."""
        ...

    @property
    def back_at(self) -> float:
        """When nothing that has an end keeps it out any more, in seconds of the balancer's clock; else infinity."""
        ...


class Choice(NamedTuple):
    """The endpoints that may be picked, and whether that is in spite of health."""

    members: Sequence[PoolMember]
    panic: bool = False


class ExhaustionPolicy(Protocol):
    """A policy for few healthy endpoints.

    Called whenever membership or health changes, from the thread that caused it, under no lock. It must not wait. One
    that raises is logged, and the healthy endpoints are used.
    """

    def __call__(self, members: Sequence[PoolMember], healthy: Sequence[PoolMember], /) -> Choice:
        """Choose among those that serve (are not draining), some of which are healthy. Pure."""
        ...


class FailClosed(Policy):
    """Use the healthy endpoints, or none. The default.

    *When to use it:* when a wrong answer is worse than none, or callers know another place to go. *When not:*
    when any answer is better than an error.

    Example
    -------
    >>> from balancekit import LoadBalancer
    >>> from balancekit.exhaustion import FailClosed
    >>> lb = LoadBalancer(["a", "b"], exhaustion=FailClosed())
    """

    def __call__(self, _members: Sequence[PoolMember], healthy: Sequence[PoolMember], /) -> Choice:
        """Choose the healthy ones."""
        return Choice(healthy)


class FailOpen(Policy):
    """Use all endpoints when the share of healthy ones is below ``threshold``, or none is healthy.

    Parameters
    ----------
    threshold
        A share, in [0, 1]. 0 waits until none is healthy; 0.5 is Envoy's panic threshold.

    Raises
    ------
    ConfigurationError
        If ``threshold`` is outside [0, 1].

    *When to use it:* when many endpoints may fail together. *When not:* when an unhealthy endpoint does harm
    (serves stale or foreign data).

    *Mind the cap on ejections.* Requests alone take out at most ``Ejection.max_share``; with a threshold of
    0.5 and the default cap of one half, only failing checks lead to panic.

    Example
    -------
    >>> from balancekit import LoadBalancer, Outcome
    >>> from balancekit.exhaustion import FailOpen
    >>> lb = LoadBalancer(["a", "b", "c"], exhaustion=FailOpen(threshold=0.8))
    >>> for _ in range(5):
    ...     _ = lb.acquire(exclude=["b", "c"]).release(Outcome.FAILURE)
    >>> lb.stats()["a"].state, lb.stats().panic
    ('ejected', True)
    """

    threshold: float = field(default=0.5, kw_only=False)

    def _check(self) -> None:
        valid.number("threshold", self.threshold, minimum=0.0, maximum=1.0)

    def __call__(self, members: Sequence[PoolMember], healthy: Sequence[PoolMember], /) -> Choice:
        """Choose the healthy ones, or all."""
        if members and (not healthy or len(healthy) < self.threshold * len(members)):
            return Choice(members, panic=True)
        return Choice(healthy)


class LeastBad(Policy):
    """Use the one that is due back soonest when none is healthy.

    *When to use it:* in small pools, so that requests are at least tried. *When not:* when that endpoint would get
    all the traffic and fail under it; use :class:`FailOpen`.

    Example
    -------
    >>> from balancekit import LoadBalancer, Outcome
    >>> from balancekit.exhaustion import LeastBad
    >>> lb = LoadBalancer(["a", "b"], exhaustion=LeastBad())
    >>> for _ in range(5):
    ...     _ = lb.acquire(exclude=["b"]).release(Outcome.FAILURE)
    >>> lb.drain("b")
    >>> lb.acquire().target
    'a'
    """

    def __call__(self, members: Sequence[PoolMember], healthy: Sequence[PoolMember], /) -> Choice:
        """Choose the healthy ones, or those whose time comes first."""
        if healthy or not members:
            return Choice(healthy)
        soonest = min(member.back_at for member in members)
        return Choice([member for member in members if member.back_at == soonest], panic=True)
