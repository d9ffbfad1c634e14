"""The load of one endpoint over all processes. It publishes the count of this process and reads the sum of the others."""

from __future__ import annotations

from typing import Any, ClassVar, Protocol, cast, final

from balancekit._support.display import StateRepr
from balancekit.node import Load, Node
from balancekit.outcome import Completion, Outcome
from balancekit.protocols import LoadPolicy, SupportsFastSuccess, SupportsReset
from balancekit.sharing._exchange import NO_PLACE, Place

__all__ = ["SharedLoad"]


class RemembersPick(Protocol):
    """The part of a pool that its loads use."""

    last_pick: SharedLoad | None
    """The load of the last pick; its published count includes a request that may have gone to another endpoint."""

    @property
    def comparing(self) -> bool:
        """Whether a selector compares nodes with the pool's function."""
        ...

    def count(self, node: Node, /) -> None:
        """Publish a request that is about to go to a node."""
        ...


@final
class SharedLoad(StateRepr, prints=("place",)):
    """The load of one endpoint over all processes. Created by :class:`Shared`."""

    __slots__ = ("_passes_starts", "_succeeded", "inner", "node", "place", "pool")

    needs_start: ClassVar[bool] = True

    def __init__(self, pool: RemembersPick, node: Node, policy: LoadPolicy) -> None:
        self.pool: RemembersPick = pool
        self.node: Node = node
        self.place: Place = NO_PLACE
        self.inner: Load = policy(cast("Node", _SummedNode(node)))
        """The wrapped load, which reads the sum."""
        self._passes_starts = bool(getattr(self.inner, "needs_start", True))
        self._succeeded = self.inner.succeeded if isinstance(self.inner, SupportsFastSuccess) else None

    @property
    def start_compared(self) -> bool:
        """Whether the pool's comparison publishes the same count as :meth:`started`."""
        return self.pool.comparing and not self._passes_starts

    @property
    def others(self) -> float:
        """The requests in flight of other processes, as last read."""
        return self.node.latency_estimate

    def publish(self) -> None:
        """Publish this process's count."""
        words, index = self.place
        node = self.node
        count = node.inflight
        words[index] = count
        while count != node.inflight:
            # Another thread was faster; the last writer has read the last count.
            count = node.inflight
            words[index] = count

    def _settle(self) -> None:
        """Publish the count of the node of the last pick again, because the request may have gone elsewhere."""
        last, self.pool.last_pick = self.pool.last_pick, None
        if last is not None:
            last.publish()

    def started(self, *, now: float, cost: float) -> None:
        """Publish the count with this request, and notify the wrapped load if it needs starts."""
        self.pool.count(self.node)
        if self._passes_starts:
            self.inner.started(now=now, cost=cost)

    def finished(self, completion: Completion, /) -> None:
        """Publish the count, and notify the wrapped load."""
        self.publish()
        self._settle()
        self.inner.finished(completion)

    def succeeded(self, latency: float, now: float) -> None:
        """Publish the count, and notify the wrapped load."""
        words, index = self.place
        node = self.node
        count = node.inflight
        words[index] = count
        if count != node.inflight:
            self.publish()
        if self.pool.last_pick is not None:
            self._settle()
        if self._succeeded is not None:
            self._succeeded(latency, now)
        else:
            self.inner.finished(_success(latency, now))

    def reset(self) -> None:
        """Notify the wrapped load."""
        if isinstance(self.inner, SupportsReset):
            self.inner.reset()

    def value(self, *, now: float) -> float:
        """Return the value of the wrapped load, as if all processes' requests were its own."""
        return self.inner.value(now=now)


class _SummedNode:
    """A view of a node with all processes' requests in flight, for the wrapped load."""

    __slots__ = ("_node", "latency_estimate")

    def __init__(self, node: Node) -> None:
        self._node = node
        self.latency_estimate = 0.0

    @property
    def inflight(self) -> float:
        """Own requests in flight plus those of other processes, as last read."""
        return self._node.inflight + self._node.latency_estimate

    def __getattr__(self, name: str) -> Any:
        return getattr(self._node, name)


def _success(latency: float, now: float) -> Completion:
    return Completion(Outcome.SUCCESS, started_at=now - latency, ended_at=now)
