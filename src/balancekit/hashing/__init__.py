"""Where does a key belong? Pure structures over ids; usable alone, without a balancer."""

from __future__ import annotations

from balancekit._lazy import lazily

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from balancekit.hashing._keys import hash32, hash64

__all__ = ["hash32", "hash64"]

__getattr__: Callable[[str], object] = lazily(__name__, {"_keys": ("hash32", "hash64")})
