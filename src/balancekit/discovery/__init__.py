"""Service discovery: sources of endpoints, followed in threads or on asyncio, with one schedule.

No resolver is called before a runner is started, nor on the path of a request.
"""

from __future__ import annotations

from balancekit._support.lazy import lazily

TYPE_CHECKING = False
if TYPE_CHECKING:
    from balancekit.discovery._addresses import SystemResolver
    from balancekit.discovery._asyncio import AsyncDiscovery
    from balancekit.discovery._dns import DnsResolver, SrvResolver
    from balancekit.discovery._file import FileSdResolver
    from balancekit.discovery._http import HttpSdResolver
    from balancekit.discovery._kubernetes import KubernetesResolver
    from balancekit.discovery._reconciler import Reconciler, State
    from balancekit.discovery._refresh import Refresh
    from balancekit.discovery._resolution import AsyncResolver, Resolution, Resolver, SupportsWatch
    from balancekit.discovery._slices import EndpointSlices, WatchExpiredError
    from balancekit.discovery._source import Source, source
    from balancekit.discovery._static import AsyncFunctionResolver, FunctionResolver, StaticResolver
    from balancekit.discovery._subscription import DiscoveryStats, SourceChanged
    from balancekit.discovery._targets import InvalidTargetsError, parse_targets
    from balancekit.discovery._threads import ThreadDiscovery

__all__ = [
    "AsyncDiscovery",
    "AsyncFunctionResolver",
    "AsyncResolver",
    "DiscoveryStats",
    "DnsResolver",
    "EndpointSlices",
    "FileSdResolver",
    "FunctionResolver",
    "HttpSdResolver",
    "InvalidTargetsError",
    "KubernetesResolver",
    "Reconciler",
    "Refresh",
    "Resolution",
    "Resolver",
    "Source",
    "SourceChanged",
    "SrvResolver",
    "State",
    "StaticResolver",
    "SupportsWatch",
    "SystemResolver",
    "ThreadDiscovery",
    "WatchExpiredError",
    "parse_targets",
    "source",
]

if not TYPE_CHECKING:  # type checkers read the imports above, and know no other names
    __getattr__ = lazily(
        __name__,
        {
            "_addresses": ("SystemResolver",),
            "_asyncio": ("AsyncDiscovery",),
            "_dns": ("DnsResolver", "SrvResolver"),
            "_file": ("FileSdResolver",),
            "_subscription": ("DiscoveryStats", "SourceChanged"),
            "_http": ("HttpSdResolver",),
            "_kubernetes": ("KubernetesResolver",),
            "_slices": ("EndpointSlices", "WatchExpiredError"),
            "_reconciler": ("Reconciler", "State"),
            "_refresh": ("Refresh",),
            "_resolution": ("AsyncResolver", "Resolution", "Resolver", "SupportsWatch"),
            "_source": ("Source", "source"),
            "_static": ("AsyncFunctionResolver", "FunctionResolver", "StaticResolver"),
            "_targets": ("InvalidTargetsError", "parse_targets"),
            "_threads": ("ThreadDiscovery",),
        },
    )


def __dir__() -> list[str]:
    return list(__all__)
