"""Plans of changes: which clients would get another site, before a map is replaced."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Any, Protocol

from balancekit._support import validation as valid
from balancekit._support.record import Record
from balancekit.errors import ConfigurationError

__all__ = ["ChangePlan", "Sited", "change_plan"]


class Sited(Protocol):
    """What a plan reads of a map."""

    def order(self, address: Any, /) -> tuple[str, ...]:
        """Return the sites for an address."""
        ...

    def intervals(self, version: int, /) -> Iterable[tuple[int, int, tuple[str, ...] | None]]:
        """Yield start, end and sites per interval."""
        ...


class ChangePlan(Record):
    """Which clients would get another first site.

    Parameters
    ----------
    addresses
        How many addresses move, by IP version (4 and 6).
    shares
        Which share of all addresses that is, by IP version.
    moves
        Addresses by IP version, old and new first site (``None``: no answer).
    observed_share
        Which share of the observed queries moves; ``None`` if none were given.
    """

    addresses: Mapping[int, int]
    shares: Mapping[int, float]
    moves: Mapping[tuple[int, str | None, str | None], int]
    observed_share: float | None = None

    def __bool__(self) -> bool:
        """Whether any client moves."""
        return bool(self.moves)


def change_plan(old: Sited, new: Sited, observed: Mapping[Any, float]) -> ChangePlan:
    """Compare two maps interval by interval."""
    moves: dict[tuple[int, str | None, str | None], int] = {}
    for version in (4, 6):
        for count, before, after in _differences(old.intervals(version), new.intervals(version)):
            key = (version, _first(before), _first(after))
            moves[key] = moves.get(key, 0) + count
    addresses = {version: sum(n for key, n in moves.items() if key[0] == version) for version in (4, 6)}
    total = moved = 0.0
    for text, queries in observed.items():
        weight = valid.number("observed", queries, minimum=0.0)
        address = _address(text)
        total += weight
        moved += weight * (_first(old.order(address)) != _first(new.order(address)))
    return ChangePlan(
        addresses=addresses,
        shares={4: addresses[4] / 2**32, 6: addresses[6] / 2**128},
        moves=moves,
        observed_share=moved / total if total else None,
    )


def _first(order: tuple[str, ...]) -> str | None:
    return order[0] if order else None


def _differences(
    old: Iterable[tuple[int, int, tuple[str, ...] | None]],
    new: Iterable[tuple[int, int, tuple[str, ...] | None]],
) -> Iterator[tuple[int, tuple[str, ...], tuple[str, ...]]]:
    """Yield counts of addresses whose first site differs. Both cover the same space."""
    before, after = iter(old), iter(new)
    _, end_before, was = next(before)
    _, end_after, will = next(after)
    start = 0
    while True:
        end = min(end_before, end_after)
        if was is not None and will is not None and _first(was) != _first(will):
            yield end - start, was, will
        start = end
        if end_before == end:
            following = next(before, None)
            if following is None:  # both end together
                return
            _, end_before, was = following
        if end_after == end:
            _, end_after, will = next(after)


def _address(text: Any) -> IPv4Address | IPv6Address:
    if isinstance(text, IPv4Address | IPv6Address):
        return text
    try:
        return (
            ip_network(str(text), strict=False).network_address if "/" in str(text) else ip_address(str(text))
        )
    except ValueError:
        raise ConfigurationError("observed", text, "addresses or subnets of clients") from None
