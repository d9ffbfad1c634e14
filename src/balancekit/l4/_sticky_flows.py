"""A flow table around a selector: a key stays with its endpoint while endpoints come and go.

The child decides about keys that are not pinned; the table remembers the endpoint for the idle time after the last
request. Where a hash alone moves some keys with every change, this moves a key only if its endpoint cannot serve.

Source: IPVS persistence; HAProxy's stick tables; Maglev (NSDI 2016) section 3.4.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal, TypeAlias, cast, final

from balancekit._selection.grouping import WHOLE_POOL, ChildSelectors, Learn
from balancekit._support.arguments import checked_arguments
from balancekit._support.display import ConstructorRepr
from balancekit._support.functions import has_methods
from balancekit.errors import ConfigurationError, Reason
from balancekit.l4._flow_table import FlowTable
from balancekit.outcome import Completion
from balancekit.protocols import LoadPolicy, Selector
from balancekit.routing import MakeSelector
from balancekit.snapshot import Key, Members, Node, PickContext, Snapshot

__all__ = ["StickyFlows"]

TCP: Final = b"\x06"
INTEGER: Final = b"i"
TEXT: Final = b"t"

OnEjected: TypeAlias = Literal["move", "keep"]


@final
class StickyFlows(ConstructorRepr, makers=("child",)):
    """Send a key to the endpoint that had it last, and others to a child.

    Parameters
    ----------
    child
        The selector for keys that are not pinned, and for requests without a key, or what makes it. With Maglev
        hashing several processes agree about new keys.
    table
        Pins keys to endpoints; its idle time ``"tcp"`` counts from the last request of a key. It belongs to this
        selector alone, as the child does.
    on_ejected
        What becomes of the pins of an endpoint that is not eligible: ``"move"`` them with the next request; or
        ``"keep"`` them, answer by the child meanwhile, and return when the endpoint does. The pins of an endpoint that
        left the pool are always moved, those of a draining one stay.

    Raises
    ------
    ConfigurationError
        If ``child`` makes no selector, ``table`` is no ``FlowTable``, or ``on_ejected`` is another word.

    Notes
    -----
    *Guarantee.* While a key is pinned and its endpoint is eligible or draining, no change of other endpoints moves it.
    Explaining a decision pins nothing.

    *When to use it:* an L4 proxy where a lease is a connection and the key is the client's address; state in the
    endpoint's memory. *When not:* clients that hold cookies (:class:`balancekit.routing.Sticky`, which needs no
    memory); several processes that must agree also about pinned keys.

    Cost: about 150 empty method calls a request, where Maglev hashing alone has 32: every pick takes the slow path,
    whose calls the balancer serialises, so that the table needs no lock. And the table's memory.

    Example
    -------
    >>> from balancekit import LoadBalancer, MaglevHash
    >>> from balancekit.l4 import FlowTable, StickyFlows
    >>> lb = LoadBalancer(["a", "b"], selector=StickyFlows(MaglevHash(), FlowTable(capacity=10_000)))
    >>> def serve(client):
    ...     with lb.acquire(client) as lease:
    ...         return lease.target
    >>> home = {client: serve(client) for client in range(100)}
    >>> lb.add("c")
    >>> all(serve(client) == home[client] for client in range(100))
    True
    """

    @checked_arguments
    def __init__(
        self,
        child: Selector | MakeSelector,
        table: FlowTable,
        *,
        on_ejected: OnEjected = "move",
    ) -> None:
        if not isinstance(table, FlowTable):
            raise ConfigurationError("table", table, "a FlowTable(capacity=...)")
        if on_ejected not in {"move", "keep"}:
            raise ConfigurationError("on_ejected", on_ejected, "'move' or 'keep'")
        self._table = table
        self._keeps = on_ejected == "keep"
        self._children = ChildSelectors(_maker(child))
        self.default_load: LoadPolicy = self._children.default_load
        if self._children.learns:
            self.learn: Learn = self._learn

    @property
    def table(self) -> FlowTable:
        """The pins."""
        return self._table

    def select(self, snapshot: Snapshot, ctx: PickContext, /) -> Node | None:
        """Return the endpoint that the key is pinned to, or what the child picks."""
        if ctx.key is None:
            return self._children.of(WHOLE_POOL).select(snapshot, ctx)
        flow = _flow(ctx.key)
        reachable = snapshot.derive(_reachable)
        home = self._table.lookup(flow, now=ctx.now)
        node = None if home is None or home in ctx.exclude else reachable.get(home)
        if node is not None:
            if ctx.trace is not None:
                ctx.trace.note(f"pinned to {home!r}")
                return node
            self._table.steer(flow, now=ctx.now, owner=_unexpected, alive=reachable)
            return node
        picked = self._children.of(WHOLE_POOL).select(snapshot, ctx)
        if ctx.trace is not None:
            ctx.trace.note("not pinned" if home is None else f"pinned to {home!r}, which cannot serve")
        elif picked is not None and not (self._keeps and home in snapshot.members.derive(_ids)):
            id = picked.id
            self._table.steer(flow, now=ctx.now, owner=lambda _: id, alive=(id,))
        return picked

    def prepare(self, snapshot: Snapshot, /) -> None:
        """Build the tables of the child."""
        self._children.prepare({WHOLE_POOL: snapshot})

    def refusals(self, snapshot: Snapshot, ctx: PickContext, /) -> Mapping[str, Reason]:
        """Return what the child says of the endpoints that it passes over."""
        return self._children.refusals(WHOLE_POOL, snapshot, ctx)

    def retry_at(self, snapshot: Snapshot, ctx: PickContext, /) -> float | None:
        """Return when the child would pick an endpoint, if it knows."""
        return self._children.retry_at(WHOLE_POOL, snapshot, ctx)

    def _learn(self, node: Node, completion: Completion, /) -> None:
        self._children.learn(node, completion)


def _maker(child: Selector | MakeSelector) -> MakeSelector:
    """Return what makes the child: the child itself, if it is one already."""
    if has_methods(child, "select"):
        return lambda: cast("Selector", child)
    return cast("MakeSelector", child)


def _flow(key: Key) -> bytes:
    """Return a key as the bytes of a TCP flow; text and bytes agree, as for hashes, integers are apart."""
    if isinstance(key, bytes):
        return key + TEXT + TCP
    if isinstance(key, str):
        return key.encode("utf-8", "surrogatepass") + TEXT + TCP
    return str(int(key)).encode() + INTEGER + TCP


def _unexpected(_flow: bytes) -> str:
    raise AssertionError("a pinned flow whose owner is alive needs no other")


def _reachable(snapshot: Snapshot) -> dict[str, Node]:
    """Return the endpoints that may serve pinned keys, by id."""
    return {node.id: node for node in (*snapshot.eligible, *snapshot.draining)}


def _ids(members: Members) -> frozenset[str]:
    return frozenset([node.id for node in members.nodes])
