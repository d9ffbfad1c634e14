"""Endpoints: the targets that a balancer chooses among.

An :class:`Endpoint` is a configured target: an id, any object for the caller, and the few properties that
algorithms read. Its identity is the id: the same id with another weight is the same endpoint.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final, Generic, TypeVar, cast, overload

from balancekit._support import validation as valid
from balancekit._support.calls import checked_call
from balancekit._support.record import Record
from balancekit._support.text import listed
from balancekit.errors import ConfigurationError, brief, without_passwords

__all__ = ["Endpoint", "endpoints"]

T = TypeVar("T")

MAX_ENDPOINTS: Final = 100_000
"""Of one call: half a gigabyte and ten seconds of a balancer. A longer list is a mistake, or never ends."""
T_co = TypeVar("T_co", covariant=True)

_NO_LABELS: Mapping[str, str] = {}


class Endpoint(Record, Generic[T_co]):
    """One configured target. Immutable.

    Parameters
    ----------
    id
        A non-empty string, unique in its pool. Statistics, health and hash positions follow it. Errors, logs, events and
        metrics show it unchanged: if the address holds a password or a key, give another id.
    target
        The object that a lease carries: an address, a client, a key, any object. The id if left out.
    weight
        Relative share of traffic, 0 to 1e100. With zero it gets no new requests while another may serve.
    priority
        Tier, a whole number >= 0; lower is preferred (used by priority routing).
    zone
        Failure domain or locality, ``""`` if it does not matter.
    metadata
        Further labels, strings to strings.

    Raises
    ------
    ConfigurationError
        If ``id`` is no string, is empty or has a lone surrogate; ``weight`` is no number from 0 to 1e100; ``priority`` is
        no integer >= 0; ``zone`` is no string; or ``metadata`` is no mapping from strings to strings.

    Example
    -------
    >>> from balancekit import Endpoint
    >>> Endpoint("10.0.0.1:8080", weight=3).target
    '10.0.0.1:8080'
    """

    id: str
    target: T_co
    weight: float
    priority: int
    zone: str
    metadata: Mapping[str, str]

    @overload
    def __init__(
        self: Endpoint[str],
        id: str,
        *,
        weight: float = 1.0,
        priority: int = 0,
        zone: str = "",
        metadata: Mapping[str, str] = _NO_LABELS,
    ) -> None: ...

    @overload
    def __init__(
        self,
        id: str,
        target: T_co,
        *,
        weight: float = 1.0,
        priority: int = 0,
        zone: str = "",
        metadata: Mapping[str, str] = _NO_LABELS,
    ) -> None: ...

    @checked_call
    def __init__(
        self,
        id: str,
        target: object = ...,
        *,
        weight: float = 1.0,
        priority: int = 0,
        zone: str = "",
        metadata: Mapping[str, str] = _NO_LABELS,
    ) -> None:
        super().__init__(
            id=valid.text("id", id),
            target=id if target is ... else target,
            weight=valid.weight("weight", weight),
            priority=valid.integer("priority", priority, minimum=0),
            zone=valid.text("zone", zone, empty=True),
            metadata=valid.labels("metadata", metadata),
        )

    def __repr__(self) -> str:
        return without_passwords(super().__repr__())  # a target may be a URL with one

    def __hash__(self) -> int:
        return hash(self.id)

    def __reduce__(self) -> tuple[object, ...]:
        facts = (self.id, self.target, self.weight, self.priority, self.zone, dict(self.metadata))
        return _restore, facts


def _restore(
    id: str,
    target: object,
    weight: float,
    priority: int,
    zone: str,
    metadata: Mapping[str, str],
) -> Endpoint[object]:
    return Endpoint(id, target, weight=weight, priority=priority, zone=zone, metadata=metadata)


@overload
def endpoints(source: Mapping[str, T], /) -> tuple[Endpoint[T], ...]: ...  # type: ignore[overload-overlap]  # a mapping is an iterable of its keys; the first match is meant
@overload
def endpoints(source: Iterable[Endpoint[T]], /) -> tuple[Endpoint[T], ...]: ...  # type: ignore[overload-overlap]  # agrees with the next one where both match
@overload
def endpoints(source: Iterable[str | Endpoint[str]], /) -> tuple[Endpoint[str], ...]: ...


def endpoints(source: object, /) -> tuple[Endpoint[object], ...]:
    """Convert strings, endpoints or a mapping into endpoints, in the order given.

    Parameters
    ----------
    source
        An iterable of strings (each its own id and target) and endpoints, or a mapping from id to
        target.

    Raises
    ------
    ConfigurationError
        For a duplicate id, a bare string, an item that is neither a string nor an endpoint, or more than
        100,000 of them.

    Example
    -------
    >>> from balancekit import Endpoint, endpoints
    >>> [e.id for e in endpoints(["10.0.0.1:80", Endpoint("b", object(), weight=2)])]
    ['10.0.0.1:80', 'b']
    >>> endpoints({"eu": "10.0.0.1:80", "us": "10.0.0.2:80"})[1].target
    '10.0.0.2:80'
    """
    if isinstance(source, Mapping):
        pairs = valid.items("endpoints", source.items(), limit=MAX_ENDPOINTS)
        found = [Endpoint(id, _target(id, target)) for id, target in pairs]
    elif isinstance(source, Iterable) and not isinstance(source, str | bytes):
        found = [_endpoint(item) for item in valid.items("endpoints", source, limit=MAX_ENDPOINTS)]
    else:
        example = (isinstance(source, str) and listed(source)) or "[Endpoint('a'), 'b']"
        allowed = f"an iterable of strings and Endpoints such as {example}, or a mapping"
        raise ConfigurationError("endpoints", source, allowed)
    seen: set[str] = set()
    for endpoint in found:
        if endpoint.id in seen:
            raise ConfigurationError("endpoints", endpoint.id, "each id once")
        seen.add(endpoint.id)
    return tuple(found)


def _target(id: object, target: object) -> object:
    """Return the target of a mapping, unless it is a number: that is a weight, which goes into an Endpoint."""
    if isinstance(target, int | float):
        allowed = f"targets by id; a number is a weight: Endpoint({brief(id)}, weight={brief(target)})"
        raise ConfigurationError("endpoints", target, allowed)
    return target


def _endpoint(item: object) -> Endpoint[object]:
    if isinstance(item, Endpoint):
        return cast("Endpoint[object]", item)
    if isinstance(item, str):
        if item != item.strip():
            raise ConfigurationError("endpoints", item, f"no blanks at its ends: {brief(item.strip())}")
        return Endpoint(item, item)
    meant = "wrap any other target: Endpoint('its id', target)"
    if isinstance(item, Mapping):
        host, port = item.get("host") or item.get("address"), item.get("port")
        if host and port:
            meant = f"for an address write {brief(f'{host}:{port}')}"
        elif {*item} & {"id", "weight", "target", "zone", "priority"}:
            meant = "for a mapping of an endpoint's fields write Endpoint(**fields), or read it by balancekit.config"
    if (
        isinstance(item, tuple)
        and len(item) == 2
        and isinstance(item[0], str)
        and isinstance(item[1], int | float)
    ):
        meant = f"for an address write '{item[0]}:{item[1]}', for a weight Endpoint({item[0]!r}, weight={item[1]})"
    raise ConfigurationError("endpoints", item, f"strings and Endpoints; {meant}")
