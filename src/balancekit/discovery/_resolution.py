"""Resolutions and the resolver protocols.

A resolver has one method. The runner decides when to refresh, which answers to accept and how to handle a failure,
in the same way for all resolvers. So a resolver may block, may raise, and keeps no state.

**An error and an empty list are different answers.** A resolver raises if it could not resolve the endpoints, and
returns an empty list if there are none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Protocol, runtime_checkable

from balancekit._support import validation as valid
from balancekit._support.record import Record
from balancekit.endpoint import MAX_ENDPOINTS, Endpoint, endpoints
from balancekit.errors import ConfigurationError

__all__ = ["AsyncResolver", "Resolution", "Resolver", "SupportsWatch", "resolution"]


class Resolution(Record):
    """The answer of a source: the endpoints and their TTL.

    Endpoints are sorted by id, so the order of an answer has no effect. If several have the same id, the one with the
    lowest priority stays, then the one with the greatest weight.

    Parameters
    ----------
    endpoints
        All endpoints; may be empty.
    ttl
        Seconds for which the answer is valid, >= 0; ``None`` if the source gives none.

    Raises
    ------
    ConfigurationError
        If ``endpoints`` holds something other than endpoints, or ``ttl`` is negative.

    Example
    -------
    >>> from balancekit import Endpoint
    >>> from balancekit.discovery import Resolution
    >>> [endpoint.id for endpoint in Resolution(endpoints=[Endpoint("b"), Endpoint("a"), Endpoint("b")]).endpoints]
    ['a', 'b']
    """

    endpoints: tuple[Endpoint[Any], ...]
    ttl: float | None

    def __init__(self, *, endpoints: Iterable[Endpoint[Any]], ttl: float | None = None) -> None:
        super().__init__(
            endpoints=_merged(endpoints),
            ttl=None if ttl is None else valid.number("ttl", ttl, minimum=0.0),
        )


@runtime_checkable
class Resolver(Protocol):
    """A source of endpoints; every runner can follow it."""

    def resolve(self) -> Resolution:
        """Return the current endpoints. May block, within a time-out of its own, and may raise."""
        ...


class AsyncResolver(Protocol):
    """A source of endpoints for asyncio; its calls are cancelled at the timeout."""

    async def resolve(self) -> Resolution:
        """Return the current endpoints. May raise."""
        ...


@runtime_checkable
class SupportsWatch(Protocol):
    """A resolver that also pushes changes."""

    def watch(self, push: Callable[[Resolution], None], /) -> Callable[[], None]:
        """Call ``push``, from any thread, with each new list; return a function that stops this."""
        ...


def resolution(answer: object) -> Resolution:
    """Turn the result of a resolver or a function into a resolution.

    Example
    -------
    >>> resolution({"a": "10.0.0.1:80", "b": "10.0.0.2:80"}).endpoints[1].target
    '10.0.0.2:80'
    """
    if isinstance(answer, Resolution):
        return answer
    return Resolution(endpoints=_named(answer))


def _named(answer: object) -> tuple[Endpoint[Any], ...]:
    """Turn strings into endpoints, even if a string occurs twice."""
    if isinstance(answer, Iterable) and not isinstance(answer, str | bytes | dict):
        items = valid.items("endpoints", answer, limit=MAX_ENDPOINTS)
        return tuple([endpoint for item in items for endpoint in endpoints([item])])
    return endpoints(answer)  # type: ignore[call-overload, no-any-return]  # refuses what is neither


def _merged(source: Iterable[Endpoint[Any]]) -> tuple[Endpoint[Any], ...]:
    best: dict[str, Endpoint[Any]] = {}
    if not isinstance(source, Iterable):
        raise ConfigurationError("endpoints", source, "Endpoints")
    for endpoint in valid.items("endpoints", source, limit=MAX_ENDPOINTS):
        if not isinstance(endpoint, Endpoint):
            raise ConfigurationError("endpoints", endpoint, "Endpoints")
        other = best.get(endpoint.id)
        if other is None or _rank(endpoint) < _rank(other):
            best[endpoint.id] = endpoint
    return tuple([best[id] for id in sorted(best)])


def _rank(endpoint: Endpoint[Any]) -> tuple[int, float]:
    return endpoint.priority, -endpoint.weight
