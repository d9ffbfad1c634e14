"""Active health checks and load probes, in threads or on asyncio, with one schedule.

A runner creates threads or tasks when it is started and leaves none when it is stopped.
"""

from __future__ import annotations

from balancekit._support.lazy import lazily

TYPE_CHECKING = False
if TYPE_CHECKING:
    from balancekit.checks._asyncio import AsyncChecks
    from balancekit.checks._dependencies import SharedDependencies
    from balancekit.checks._load_probes import AsyncProbes, LoadProbe, ThreadProbes
    from balancekit.checks._metrics_probe import (
        INFERENCE_ATTRIBUTES,
        INFERENCE_METRICS,
        Gauges,
        MetricsPage,
        MetricsProbe,
        read_gauges,
    )
    from balancekit.checks._once import check_once
    from balancekit.checks._probes import DeepCheck, HttpCheck, TcpCheck
    from balancekit.checks._result import NetworkCheck, Peer, ProbeExchange, ProbeResult
    from balancekit.checks._schedule import CheckTimer, Schedule
    from balancekit.checks._scrapes import AsyncScrapes, ThreadScrapes
    from balancekit.checks._threads import ThreadChecks

__all__ = [
    "INFERENCE_ATTRIBUTES",
    "INFERENCE_METRICS",
    "AsyncChecks",
    "AsyncProbes",
    "AsyncScrapes",
    "CheckTimer",
    "DeepCheck",
    "Gauges",
    "HttpCheck",
    "LoadProbe",
    "MetricsPage",
    "MetricsProbe",
    "NetworkCheck",
    "Peer",
    "ProbeExchange",
    "ProbeResult",
    "Schedule",
    "SharedDependencies",
    "TcpCheck",
    "ThreadChecks",
    "ThreadProbes",
    "ThreadScrapes",
    "check_once",
    "read_gauges",
]

if not TYPE_CHECKING:  # type checkers read the imports above, and know no other names
    __getattr__ = lazily(
        __name__,
        {
            "_asyncio": ("AsyncChecks",),
            "_dependencies": ("SharedDependencies",),
            "_result": ("ProbeExchange", "ProbeResult", "NetworkCheck", "Peer"),
            "_load_probes": ("AsyncProbes", "LoadProbe", "ThreadProbes"),
            "_metrics_probe": (
                "INFERENCE_ATTRIBUTES",
                "INFERENCE_METRICS",
                "Gauges",
                "MetricsPage",
                "MetricsProbe",
                "read_gauges",
            ),
            "_once": ("check_once",),
            "_probes": ("DeepCheck", "HttpCheck", "TcpCheck"),
            "_schedule": ("Schedule", "CheckTimer"),
            "_scrapes": ("AsyncScrapes", "ThreadScrapes"),
            "_threads": ("ThreadChecks",),
        },
    )


def __dir__() -> list[str]:
    return list(__all__)
