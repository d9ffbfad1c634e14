"""What adapters report of a request that was answered."""

from __future__ import annotations

from typing import Any, final

from balancekit.endpoint import Endpoint
from balancekit.errors import ConfigurationError
from balancekit.lease import Lease

__all__ = ["CallInfo"]


@final
class CallInfo:
    """How a request was answered. Made by the adapters.

    Parameters
    ----------
    lease
        The lease of the attempt that was answered.
    tried
        Ids of the endpoints tried, in order, this one last.

    Raises
    ------
    ConfigurationError
        If ``lease`` is no ``Lease``, or ``tried`` no tuple.
    """

    __slots__ = ("_lease", "_tried")

    def __init__(self, lease: Lease[Any], tried: tuple[str, ...]) -> None:
        if not isinstance(tried, tuple):
            raise ConfigurationError("tried", tried, "a tuple of endpoint ids")
        if not isinstance(lease, Lease):
            raise ConfigurationError("lease", lease, "a Lease")
        self._lease = lease
        self._tried = tried

    @property
    def endpoint(self) -> Endpoint[Any]:
        """The endpoint that answered."""
        return self._lease.endpoint

    @property
    def cost(self) -> float:
        """The cost of the request."""
        return self._lease.cost

    @property
    def attempts(self) -> int:
        """How many attempts it took."""
        return len(self._tried)

    @property
    def tried(self) -> tuple[str, ...]:
        """Ids of the endpoints tried, in order, this one last."""
        return self._tried

    def report_tokens(self, count: int) -> None:
        """Record how many tokens the answer had; before a stream ends, so that its speed is known too."""
        self._lease.report_tokens(count)

    def __repr__(self) -> str:
        return f"CallInfo(endpoint={self.endpoint.id!r}, attempts={self.attempts}, tried={self.tried})"
