"""What would Envoy have done with this request?

Written against Envoy 1.40 and held to choices recorded from it.
"""

from balancekit.compat.envoy._hash import key_hash, murmur64, xxh64
from balancekit.compat.envoy._hashed import Maglev, RingHash
from balancekit.compat.envoy._turns import LeastRequest, Random, RoundRobin

__all__ = ["LeastRequest", "Maglev", "Random", "RingHash", "RoundRobin", "key_hash", "murmur64", "xxh64"]
