"""What adapters tell of a request that was answered."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, final

from balancekit.endpoint import Endpoint

if TYPE_CHECKING:
    from balancekit.adapters._call import Call

__all__ = ["CallInfo"]


@final
class CallInfo:
    """How a request was answered. Made by the adapters."""

    __slots__ = ("_call",)

    def __init__(self, call: Call) -> None:
        self._call = call

    @property
    def endpoint(self) -> Endpoint[Any]:
        """The endpoint that answered."""
        return self._call.lease.endpoint

    @property
    def cost(self) -> float:
        """The cost of the request."""
        return self._call.lease.cost

    @property
    def attempts(self) -> int:
        """How many attempts it took."""
        return len(self._call.tried)

    @property
    def tried(self) -> tuple[str, ...]:
        """Ids of the endpoints tried, in order, this one last."""
        return tuple(self._call.tried)

    def report_tokens(self, count: int) -> None:
        """Record how many tokens the answer had; before a stream ends, so that its speed is known too."""
        self._call.lease.report_tokens(count)

    def __repr__(self) -> str:
        return f"CallInfo(endpoint={self.endpoint.id!r}, attempts={self.attempts}, tried={self.tried})"
