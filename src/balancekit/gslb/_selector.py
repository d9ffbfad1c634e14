"""A policy tree as a client-side selector: the same decision in an application as in a DNS server.

An application that knows its pool needs no DNS answer, no TTL and no cache: it evaluates the tree itself, at every
request, and moves within milliseconds when an endpoint is ejected.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, final

from balancekit._support.arguments import checked_arguments
from balancekit._support.display import ConstructorRepr
from balancekit._support.functions import plain_function
from balancekit.errors import ConfigurationError
from balancekit.gslb._failover import child_policies
from balancekit.gslb._query import Client, Policy, Query
from balancekit.gslb._standing import Standing
from balancekit.gslb._tree import read_answer
from balancekit.snapshot import Node, PickContext, Snapshot

__all__ = ["PolicySelector"]

_UP: Final = Standing(up=True)
_DOWN: Final = Standing(up=False)


@final
class PolicySelector(ConstructorRepr):
    """Select the endpoint that a policy would answer first.

    Parameters
    ----------
    policy
        A tree whose members are ids of endpoints in the pool.
    client
        Where requests come from: one :class:`Client`, if that is this process, or a callable that makes one
        from the pick context (from its key, for example).
    name
        The name in the query.

    Raises
    ------
    ConfigurationError
        If ``policy`` has no ``answer`` method, or ``client`` is neither a ``Client`` nor a plain function.

    *Guarantee.* An endpoint that has been tried, or that is ineligible, is down for the policy. If the policy
    answers an endpoint although all are down, that one is not picked.

    *When not to use it:* inside one site: selectors that compare loads are better there.

    Cost: the policy's, and one dictionary per snapshot.

    Example
    -------
    >>> from balancekit.gslb import AllUp, Client, Geo, GeoMap, PolicySelector
    >>> from balancekit import LoadBalancer
    >>> world = GeoMap.build(networks={"198.51.100.0/24": ["us", "eu"]}, default=["eu", "us"])
    >>> tree = Geo(world, {"eu": AllUp(["eu-1"]), "us": AllUp(["us-1"])})
    >>> here = Client(address="198.51.100.7")
    >>> lb = LoadBalancer(["eu-1", "us-1"], selector=PolicySelector(tree, client=here))
    >>> with lb.acquire() as lease:
    ...     lease.endpoint.id
    'us-1'
    """

    @checked_arguments
    def __init__(
        self, policy: Policy, *, client: Client | Callable[[PickContext], Client], name: str = ""
    ) -> None:
        self._policy: Final = child_policies("policy", [("policy", policy)])["policy"]
        if not isinstance(client, Client):
            plain_function("client", client, "a Client, or a callable that makes one")
        self._client: Final = client
        self._query: Final = Query(name=name, client=client) if isinstance(client, Client) else None
        self._name: Final = name

    def prepare(self, snapshot: Snapshot, /) -> None:
        """Refuse a pool of which the policy knows no endpoint."""
        ids, known = [node.id for node in snapshot.members.nodes], self._policy.members()
        if ids and known.isdisjoint(ids):
            raise ConfigurationError(
                "endpoints", ids, f"ids that the policy knows: {', '.join(sorted(known))}"
            )

    def select(self, snapshot: Snapshot, ctx: PickContext) -> Node | None:
        """Return the first endpoint of the answer that may be picked."""
        nodes = snapshot.derive(_by_id)
        exclude = ctx.exclude

        def standings(id: str) -> Standing:
            return _UP if id in nodes and id not in exclude else _DOWN

        query = self._query
        if query is None:
            query = Query(name=self._name, client=self._client(ctx))  # type: ignore[operator]  # a callable, or there is a query
        explain = ctx.trace is not None
        answer = read_answer(self._policy, query, standings, now=ctx.now, rng=ctx.rng, explain=explain)
        if ctx.trace is not None:
            for step in answer.steps:
                ctx.trace.note(f"{step.policy}: {step.text}")
        for id in answer.chosen:
            if standings(id).up:
                return nodes[id]
        return None


def _by_id(snapshot: Snapshot) -> dict[str, Node]:
    return {node.id: node for node in snapshot.eligible}
