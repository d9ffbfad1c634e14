"""HAProxy's ``balance`` and ``hash-type`` settings, and the structures they need.

Source: HAProxy 2.6.12, configuration manual section 4.2.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Final, Protocol

from balancekit._support import validation as valid
from balancekit._support.arguments import checked_arguments
from balancekit._support.record import Record
from balancekit.compat.haproxy._hashes import HASHES, avalanche
from balancekit.compat.haproxy._keys import HashedBy
from balancekit.compat.haproxy._leastconn import First, LeastConn
from balancekit.compat.haproxy._members import Group, Member
from balancekit.compat.haproxy._ring import Ring
from balancekit.compat.haproxy._round_robin import RoundRobin
from balancekit.errors import ConfigurationError

__all__ = ["Balance", "Structure"]

METHODS: Final = ("roundrobin", "static-rr", "leastconn", "first", "random", "hash")


class Structure(Protocol):
    """The data structure of a group of servers: a tree, a list, a table or a ring."""

    def pick(self, avoid: Member | None) -> Member | None:
        """Choose without a hash; ``None`` if all are full."""
        ...

    def add(self, member: Member) -> None:
        """Add a server that is usable again."""
        ...

    def remove(self, member: Member, before: int) -> None:
        """Remove a server that is no longer usable; ``before`` was its effective weight."""
        ...

    def reweigh(self, member: Member, before: int) -> None:
        """Apply the new weight of a usable server; ``before`` was its effective weight."""
        ...

    def count_changed(self, member: Member) -> None:
        """Apply a change of a server's number of requests, in progress or waiting."""
        ...


class Balance(Record):
    """The settings ``balance`` and ``hash-type`` of a backend.

    Parameters
    ----------
    method
        ``"roundrobin"``, ``"static-rr"``, ``"leastconn"``, ``"first"``, ``"random"`` or ``"hash"``.
    by
        The part of a request that is hashed. Required for the method ``"hash"``, refused for others.
    consistent
        Whether ``hash-type`` is ``consistent``. Otherwise it is ``map-based``.
    function
        The hash function: ``sdbm``, ``djb2``, ``wt6`` or ``crc32``; ``sdbm`` if left out.
    avalanche
        Whether :func:`avalanche` mixes the hash. If left out, it does so only with ``consistent`` and no ``function``.
    balance_factor
        ``hash-balance-factor`` in per cent, 0 (off) or more than 100. It affects consistent hashing and ``"random"``.
    draws
        The number of servers that ``random(draws)`` draws, >= 1.

    Raises
    ------
    ConfigurationError
        If ``method`` or ``function`` is another word; ``by`` is missing for ``"hash"`` or given for another method;
        ``consistent`` or ``avalanche`` is no bool; ``balance_factor`` is neither 0 nor an integer above 100; or ``draws``
        is no integer >= 1.

    Example
    -------
    >>> from balancekit.compat.haproxy import Balance, Uri
    >>> Balance(method="hash", by=Uri(), function="djb2").hash_of("/index.html?x")
    3776231887
    """

    method: str = "roundrobin"
    by: HashedBy | None = None
    consistent: bool = False
    function: str | None = None
    avalanche: bool | None = None
    balance_factor: int = 0
    draws: int = 2

    def _check(self) -> None:
        if self.method not in METHODS:
            raise ConfigurationError("method", self.method, f"one of {', '.join(METHODS)}")
        if (self.method == "hash") != (self.by is not None):
            raise ConfigurationError("by", self.by, "what is hashed if the method is 'hash', else nothing")
        if self.function is not None and self.function not in HASHES:
            raise ConfigurationError("function", self.function, f"one of {', '.join(HASHES)}")
        valid.flag("consistent", self.consistent)
        if self.avalanche is not None:
            valid.flag("avalanche", self.avalanche)
        if valid.integer("balance_factor", self.balance_factor, minimum=0) and self.balance_factor <= 100:
            raise ConfigurationError("balance_factor", self.balance_factor, "0 or more than 100")
        valid.integer("draws", self.draws, minimum=1)

    @property
    def static(self) -> bool:
        """Whether weights can only be set to 0 % and 100 % at run time."""
        return self.method == "static-rr" or (self.method == "hash" and not self.consistent)

    @checked_arguments
    def hash_of(self, value: str | bytes) -> int | None:
        """Return the 32-bit hash of a request's value, ``None`` if there is nothing to hash."""
        found = None if self.by is None else self.by.of(value)
        if found is None:
            return None
        h = found if isinstance(found, int) else HASHES[self.function or "sdbm"](found)
        mixed = self.consistent and self.function is None if self.avalanche is None else self.avalanche
        return avalanche(h) if mixed else h

    def structure(self, group: Group, *, load: Callable[[], int], rng: Random) -> Structure:
        """Return the data structure of a group for a method that is not static."""
        if self.method == "leastconn":
            return LeastConn(group)
        if self.method == "first":
            return First(group)
        if self.method == "roundrobin":
            return RoundRobin(group)
        draws = self.draws if self.method == "random" else 0
        return Ring(group, factor=self.balance_factor, load=load, draws=draws, rng=rng)
