"""Load-balancing decisions for Python programs.

balancekit decides which endpoint gets a request, tracks the health of endpoints, and retries elsewhere. Make a
:class:`LoadBalancer`, acquire a lease for each request, and let the ``with`` block report the outcome::

    lb = LoadBalancer(["10.0.0.1:8080", "10.0.0.2:8080"])
    with lb.acquire() as lease:
        call(lease.target)

More is in the subpackages: ``selectors`` and ``loads`` (algorithms), ``health`` (machines), ``hashing``
and ``scheduling`` (structures usable alone), ``testing`` (laws for your own algorithms).
"""

from __future__ import annotations

from balancekit._support.lazy import lazily

TYPE_CHECKING = False
if TYPE_CHECKING:
    from balancekit._support.version import __version__ as __version__
    from balancekit.balancer import LoadBalancer
    from balancekit.endpoint import Endpoint, endpoints
    from balancekit.errors import (
        AllIneligibleError,
        AttemptsExhaustedError,
        BalancekitError,
        ConfigurationError,
        LeaseError,
        MissingKeyError,
        PoolEmptyError,
        SaturatedError,
        UnavailableError,
        UnknownEndpointError,
    )
    from balancekit.lease import Lease
    from balancekit.outcome import Outcome, classify_exception
    from balancekit.protocols import Balancer, Selector
    from balancekit.selectors import (
        BoundedLoad,
        First,
        LeastRequest,
        LeastResponseTime,
        MaglevHash,
        PowerOfChoices,
        RendezvousHash,
        RingHash,
        RoundRobin,
        ShortestExpectedDelay,
        SmoothWeightedRoundRobin,
        SourceHash,
        StrideScheduling,
        UniformRandom,
        WeightedRandom,
    )
    from balancekit.snapshot import Key, Node, PickContext, Snapshot

__all__ = [
    "AllIneligibleError",
    "AttemptsExhaustedError",
    "BalancekitError",
    "Balancer",
    "BoundedLoad",
    "ConfigurationError",
    "Endpoint",
    "First",
    "Key",
    "Lease",
    "LeaseError",
    "LeastRequest",
    "LeastResponseTime",
    "LoadBalancer",
    "MaglevHash",
    "MissingKeyError",
    "Node",
    "Outcome",
    "PickContext",
    "PoolEmptyError",
    "PowerOfChoices",
    "RendezvousHash",
    "RingHash",
    "RoundRobin",
    "SaturatedError",
    "Selector",
    "ShortestExpectedDelay",
    "SmoothWeightedRoundRobin",
    "Snapshot",
    "SourceHash",
    "StrideScheduling",
    "UnavailableError",
    "UniformRandom",
    "UnknownEndpointError",
    "WeightedRandom",
    "classify_exception",
    "endpoints",
]

PACKAGES = (
    "health",
    "routing",
    "loads",
    "hashing",
    "exhaustion",
    "retry",
    "checks",
    "discovery",
    "adapters",
    "observability",
    "config",
    "testing",
    "sim",
    "bench",
    "capacity",
    "reported",
    "sharing",
    "waiting",
    "inference",
    "proxyconfig",
    "l7",
    "l4",
    "gslb",
    "ha",
    "compat",
    "scheduling",
    "stats",
    "selectors",
    "events",
    "errors",
    "protocols",
    "node",
    "snapshot",
    "outcome",
    "planning",
    "explanation",
    "statistics_view",
)
"""Packages and modules that are attributes; a name that the top level has not is looked for in this order."""

if not TYPE_CHECKING:  # type checkers read the imports above, and know no other names
    __getattr__ = lazily(
        __name__,
        {
            "_support.version": ("__version__",),
            "balancer": ("LoadBalancer",),
            "endpoint": ("Endpoint", "endpoints"),
            "errors": (
                "AllIneligibleError",
                "AttemptsExhaustedError",
                "BalancekitError",
                "ConfigurationError",
                "LeaseError",
                "MissingKeyError",
                "PoolEmptyError",
                "SaturatedError",
                "UnavailableError",
                "UnknownEndpointError",
            ),
            "lease": ("Lease",),
            "outcome": ("Outcome", "classify_exception"),
            "protocols": ("Balancer", "Selector"),
            "selectors": (
                "BoundedLoad",
                "First",
                "LeastRequest",
                "LeastResponseTime",
                "MaglevHash",
                "PowerOfChoices",
                "UniformRandom",
                "RendezvousHash",
                "RingHash",
                "RoundRobin",
                "ShortestExpectedDelay",
                "SmoothWeightedRoundRobin",
                "SourceHash",
                "StrideScheduling",
                "WeightedRandom",
            ),
            "snapshot": ("Key", "Node", "PickContext", "Snapshot"),
        },
        packages=PACKAGES,
    )


def __dir__() -> list[str]:
    return list(__all__)
