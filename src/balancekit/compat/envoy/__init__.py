"""Choices of Envoy 1.40: routes, clusters, policies, priority levels, localities, subsets and outlier detection.

- :class:`RouteConfig` chooses the cluster of a request.
- :class:`Cluster` chooses the host of a request, with hash policies, subsets, priority levels, panic mode, localities, a
  policy, slow start and outlier detection. It does no I/O and reads no clock.
- The policies :class:`RoundRobin`, :class:`LeastRequest`, :class:`Random`, :class:`RingHash` and :class:`Maglev` are
  selectors. They work in a ``LoadBalancer`` too.
- :class:`OutlierDetector` and :class:`HealthChecker` are state machines that can be used alone.
- :class:`OverrideHost` uses the host that a request names. :class:`RetryBudget` and :class:`TokenBucket` limit retries and
  requests.
- :func:`client_side_weighted_round_robin` and :func:`gradient_controller` make a selector and a limit with Envoy's names and
  defaults.

Source: Envoy 1.40; choices are compared with recordings of it.
"""

from balancekit.compat._routing import RawRequest, Routed
from balancekit.compat.envoy._adaptive_concurrency import gradient_controller
from balancekit.compat.envoy._client_side_wrr import client_side_weighted_round_robin
from balancekit.compat.envoy._cluster import Cluster
from balancekit.compat.envoy._filter_chains import filter_chains
from balancekit.compat.envoy._hash import key_hash, murmur64, xxh64
from balancekit.compat.envoy._hashed import Maglev, RingHash
from balancekit.compat.envoy._health import Health, HealthCheck, HealthChecker
from balancekit.compat.envoy._host import Host
from balancekit.compat.envoy._levels import Distribution, distribute
from balancekit.compat.envoy._limits import RetryBudget, TokenBucket
from balancekit.compat.envoy._localities import ZoneAware
from balancekit.compat.envoy._outlier import OutlierDetector
from balancekit.compat.envoy._outlier_settings import OutlierDetection
from balancekit.compat.envoy._override_host import OverrideHost
from balancekit.compat.envoy._request import (
    HashPolicy,
    Header,
    QueryParameter,
    Request,
    SourceAddress,
    request_hash,
)
from balancekit.compat.envoy._routes import RouteConfig, route_config
from balancekit.compat.envoy._slow_start import SlowStart
from balancekit.compat.envoy._subsets import Subsets, SubsetSelector
from balancekit.compat.envoy._unkeyed import LeastRequest, Random, RoundRobin

__all__ = [
    "Cluster",
    "Distribution",
    "HashPolicy",
    "Header",
    "Health",
    "HealthCheck",
    "HealthChecker",
    "Host",
    "LeastRequest",
    "Maglev",
    "OutlierDetection",
    "OutlierDetector",
    "OverrideHost",
    "QueryParameter",
    "Random",
    "RawRequest",
    "Request",
    "RetryBudget",
    "RingHash",
    "RoundRobin",
    "RouteConfig",
    "Routed",
    "SlowStart",
    "SourceAddress",
    "SubsetSelector",
    "Subsets",
    "TokenBucket",
    "ZoneAware",
    "client_side_weighted_round_robin",
    "distribute",
    "filter_chains",
    "gradient_controller",
    "key_hash",
    "murmur64",
    "request_hash",
    "route_config",
    "xxh64",
]
