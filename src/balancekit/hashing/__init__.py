"""Where does a key belong? Pure structures over ids; usable alone, without a balancer.

========================  ============================================================================
:class:`HashRing`         the consistent-hash ring; nodes come and go, and nothing else moves
========================  ============================================================================
"""

from __future__ import annotations

from balancekit._lazy import lazily

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from balancekit.hashing._keys import HashFunction, hash32, hash64, hash_function, keyed
    from balancekit.hashing._ring import HashRing

__all__ = ["HashFunction", "HashRing", "hash32", "hash64", "hash_function", "keyed"]

__getattr__: Callable[[str], object] = lazily(
    __name__,
    {
        "_keys": ("HashFunction", "hash32", "hash64", "hash_function", "keyed"),
        "_ring": ("HashRing",),
    },
)


def __dir__() -> list[str]:
    return list(__all__)
