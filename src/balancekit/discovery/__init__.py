"""Who is there at all? Sources of endpoints, followed in threads or on asyncio, over one schedule.

Nothing is asked until a runner is started, and never on the path of a request.
"""

from __future__ import annotations

from balancekit._support.lazy import lazily

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from balancekit.discovery._addresses import SystemAddresses
    from balancekit.discovery._asyncio import AsyncDiscovery
    from balancekit.discovery._dns import DnsAddresses, DnsServices
    from balancekit.discovery._file import FileTargets
    from balancekit.discovery._follow import DiscoveryStats, SourceChanged
    from balancekit.discovery._http import HttpTargets
    from balancekit.discovery._reconciler import Reconciler, State
    from balancekit.discovery._refresh import Refresh
    from balancekit.discovery._resolution import AsyncResolver, Resolution, Resolver, SupportsWatch
    from balancekit.discovery._source import Source, source
    from balancekit.discovery._static import AsyncCalling, Calling, Static
    from balancekit.discovery._targets import BadListError, parse_targets
    from balancekit.discovery._threads import ThreadDiscovery

__all__ = [
    "AsyncCalling",
    "AsyncDiscovery",
    "AsyncResolver",
    "BadListError",
    "Calling",
    "DiscoveryStats",
    "DnsAddresses",
    "DnsServices",
    "FileTargets",
    "HttpTargets",
    "Reconciler",
    "Refresh",
    "Resolution",
    "Resolver",
    "Source",
    "SourceChanged",
    "State",
    "Static",
    "SupportsWatch",
    "SystemAddresses",
    "ThreadDiscovery",
    "parse_targets",
    "source",
]

__getattr__: Callable[[str], object] = lazily(
    __name__,
    {
        "_addresses": ("SystemAddresses",),
        "_asyncio": ("AsyncDiscovery",),
        "_dns": ("DnsAddresses", "DnsServices"),
        "_file": ("FileTargets",),
        "_follow": ("DiscoveryStats", "SourceChanged"),
        "_http": ("HttpTargets",),
        "_reconciler": ("Reconciler", "State"),
        "_refresh": ("Refresh",),
        "_resolution": ("AsyncResolver", "Resolution", "Resolver", "SupportsWatch"),
        "_source": ("Source", "source"),
        "_static": ("AsyncCalling", "Calling", "Static"),
        "_targets": ("BadListError", "parse_targets"),
        "_threads": ("ThreadDiscovery",),
    },
)


def __dir__() -> list[str]:
    return list(__all__)
