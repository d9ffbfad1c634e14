"""Key spaces: which address every hash belongs to, and the share of the hashes that another configuration moves.

A hash is a number of a known range, uniform for keys that are not chosen. A space divides it: a ring into arcs, a table
into the remainders of its size, ``ip_hash`` into the remainders of 6,271, each with as many networks as have it. Two
spaces of the same hash are compared part by part. Two of different hashes are independent of each other.

Cost: O(n log n) in the points or slots. Source: nginx 1.22.1, HAProxy 2.6.12, Envoy 1.40.
"""

from __future__ import annotations

import math
from bisect import bisect
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from itertools import accumulate
from typing import Final, Protocol, TypeAlias, final

__all__ = ["Arcs", "ByWeight", "Levels", "Networks", "Shares", "Slots", "Space", "moved"]

Shares: TypeAlias = Mapping[str, float]
IP_HASH: Final = 6271
"""The remainders of nginx's ``ip_hash``."""


class Space(Protocol):
    """A division of all hashes among addresses."""

    hash: str
    """What is hashed, and how: spaces with the same one see the same number for a key."""

    def shares(self) -> Shares:
        """Return the share of the hashes of each address."""
        ...

    def moved(self, other: Space, /) -> float | None:
        """Return the share that another space gives to another address; ``None`` if the two do not compare."""
        ...


def moved(before: Space, after: Space) -> tuple[float, bool]:
    """Return the share of the keys that change their address, and whether the two spaces see the same hashes.

    Where they do not, the owners before and after are independent of each other.
    """
    if before.hash == after.hash:
        found = before.moved(after)
        if found is not None:
            return found, True
    shares, others = before.shares(), after.shares()
    return 1.0 - math.fsum(share * others.get(address, 0.0) for address, share in shares.items()), False


@final
class Arcs:
    """A ring: a hash belongs to the first end that is not below it, beyond the last end to the first.

    Parameters
    ----------
    hash
        What is hashed, and how.
    size
        Of the circle.
    ends
        The last hash of each arc, and the address it belongs to.

    Example
    -------
    >>> ring = Arcs("h", 100, [(49, "a"), (79, "b")])
    >>> dict(ring.shares())
    {'a': 0.7, 'b': 0.3}
    >>> ring.moved(Arcs("h", 100, [(49, "a"), (69, "b")]))
    0.1
    """

    def __init__(self, hash: str, size: int, ends: Iterable[tuple[int, str]]) -> None:
        self.hash: str = hash
        self._size = size
        self._ends = sorted(dict(reversed(list(ends))).items())
        self._ends.append((size - 1, self._ends[0][1]))

    def shares(self) -> Shares:
        """Return the share of the circle of each address."""
        found = Counter[str]()
        start = 0
        for end, address in self._ends:
            found[address] += end + 1 - start
            start = end + 1
        return {address: length / self._size for address, length in found.items()}

    def moved(self, other: Space, /) -> float | None:
        """Return the share of the circle that another ring gives to another address."""
        if not isinstance(other, Arcs) or other._size != self._size:  # noqa: SLF001 - of the same class
            return None
        theirs = iter(other._ends)  # noqa: SLF001 - of the same class
        end, owner = next(theirs)
        start = changed = 0
        for stop, address in self._ends:
            while start <= stop:
                last = min(stop, end)
                if owner != address:
                    changed += last + 1 - start
                start = last + 1
                if last == end and end < self._size - 1:
                    end, owner = next(theirs)
        return changed / self._size


@final
class Slots:
    """A table: a hash belongs to the slot of its remainder.

    Parameters
    ----------
    hash
        What is hashed, and how.
    owners
        The address of each slot.

    Example
    -------
    >>> Slots("h", ["a", "a", "b"]).moved(Slots("h", ["a", "b"]))
    0.5
    """

    def __init__(self, hash: str, owners: Sequence[str]) -> None:
        self.hash: str = hash
        self._owners = owners

    def shares(self) -> Shares:
        """Return the share of the slots of each address."""
        return {address: count / len(self._owners) for address, count in Counter(self._owners).items()}

    def moved(self, other: Space, /) -> float | None:
        """Return the share of the hashes that another table gives to another address.

        A pair of remainders occurs if both are the same modulo the greatest common divisor of the sizes.
        """
        if not isinstance(other, Slots):
            return None
        theirs = other._owners  # noqa: SLF001 - of the same class
        common = math.gcd(len(self._owners), len(theirs))
        if common == len(self._owners) == len(theirs):
            return sum(a != b for a, b in zip(self._owners, theirs, strict=True)) / common
        same = 0
        for rest in range(common):
            ours = Counter(self._owners[rest::common])
            same += sum(count * ours[address] for address, count in Counter(theirs[rest::common]).items())
        pairs = len(self._owners) * len(theirs) // common
        return (pairs - same) / pairs


@final
class ByWeight:
    """Addresses in order, each for as many numbers as it weighs, and again from the first one on.

    Cost: O(n) memory in the addresses, whatever they weigh; O(log n) a number.

    Example
    -------
    >>> addresses = ByWeight([("a", 2), ("b", 1)])
    >>> [addresses.of(number) for number in range(4)]
    ['a', 'a', 'b', 'a']
    """

    def __init__(self, weights: Iterable[tuple[str, int]]) -> None:
        pairs = [(address, weight) for address, weight in weights if weight]
        self._addresses = [address for address, _ in pairs]
        self._ends = list(accumulate(weight for _, weight in pairs))

    def of(self, number: int) -> str:
        """Return the address of a number."""
        return self._addresses[bisect(self._ends, number % self._ends[-1])]


@final
class Networks:
    """nginx's ``ip_hash``: a remainder belongs to an address, and each has a number of IPv4 networks.

    Parameters
    ----------
    hash
        What is hashed, and how.
    addresses
        The address of each remainder.
    """

    def __init__(self, hash: str, addresses: ByWeight) -> None:
        self.hash: str = hash
        self._addresses = addresses

    def owner(self, rest: int) -> str:
        """Return the address that a remainder belongs to."""
        return self._addresses.of(rest)

    def shares(self) -> Shares:
        """Return the share of the networks of each address."""
        found = Counter[str]()
        for rest, count in enumerate(networks()):
            found[self.owner(rest)] += count
        return {address: count / 2**24 for address, count in found.items()}

    def moved(self, other: Space, /) -> float | None:
        """Return the share of the networks that another division gives to another address."""
        if not isinstance(other, Networks):
            return None
        changed = sum(count for rest, count in enumerate(networks()) if self.owner(rest) != other.owner(rest))
        return changed / 2**24


@lru_cache(maxsize=1)
def networks() -> tuple[int, ...]:
    """Return how many of the 2**24 networks of three bytes have each remainder."""
    changes = [0] * (IP_HASH + 1)
    for first in range(256):
        for second in range(256):
            start = ((89 * 113 + first) % IP_HASH * 113 + second) % IP_HASH * 113 % IP_HASH
            changes[start] += 1
            if start + 256 <= IP_HASH:
                changes[start + 256] -= 1
            else:
                changes[0] += 1
                changes[start + 256 - IP_HASH] -= 1
    found, running = [], 0
    for change in changes[:IP_HASH]:
        running += change
        found.append(running)
    return tuple(found)


@final
class Levels:
    """Envoy's priority levels: the remainder of a hash by 100 chooses a space.

    Parameters
    ----------
    hash
        What is hashed, and how.
    spaces
        One for each remainder.
    """

    def __init__(self, hash: str, spaces: Sequence[Space]) -> None:
        self.hash: str = hash
        self._spaces = spaces

    def shares(self) -> Shares:
        """Return the share of the hashes of each address."""
        found: dict[str, float] = {}
        counted = Counter(map(id, self._spaces))
        for space in {id(one): one for one in self._spaces}.values():
            for address, share in space.shares().items():
                found[address] = found.get(address, 0.0) + share * counted[id(space)] / len(self._spaces)
        return found

    def moved(self, other: Space, /) -> float | None:
        """Return the share of the hashes that other levels give to another address, ``None`` if one does not compare."""
        if not isinstance(other, Levels):
            return None
        pairs = Counter(
            (id(ours), id(theirs))
            for ours, theirs in zip(self._spaces, other._spaces, strict=True)  # noqa: SLF001 - of its own class
        )
        known = {id(one): one for one in (*self._spaces, *other._spaces)}  # noqa: SLF001 - of the same class
        total = 0.0
        for (ours, theirs), count in pairs.items():
            part, exact = moved(known[ours], known[theirs])
            if not exact:
                return None
            total += part * count / len(self._spaces)
        return total
