"""Where does a key belong? Pure structures over ids; usable alone, without a balancer."""

from __future__ import annotations

from balancekit.hashing._keys import hash32, hash64

__all__ = ["hash32", "hash64"]
