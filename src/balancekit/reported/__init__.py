"""Load reports of servers: ORCA headers, weights from reports, and the server side.

=============================  ============================================================================
:func:`parse_orca`             a report from a header or trailer, in its three forms
:class:`ReportedRoundRobin`    a selector that weights endpoints by their reports, as gRPC and Envoy do
:class:`ReportedWeights`       the rule for these weights, usable alone
:class:`Prequal`               a selector that probes servers and avoids hot ones; runners are in ``checks``
:class:`NodeAttributes`        figures from scraped pages of metrics; :class:`Probed` is a load that reads one
:class:`LoadMeter`             a server's own figures; :class:`LatencyByLoad` is its latency estimate
:class:`AsgiLoadReports`       ASGI middleware that adds them to responses; :class:`WsgiLoadReports` for WSGI
=============================  ============================================================================

On the client side, adapters read the header and call ``lease.report_load``; any other code may do the same.
"""

from __future__ import annotations

from balancekit._support.lazy import lazily

TYPE_CHECKING = False
if TYPE_CHECKING:
    from balancekit.reported._attributes import NodeAttributes
    from balancekit.reported._headers import HeaderReports
    from balancekit.reported._latency_by_load import LatencyByLoad
    from balancekit.reported._load_headers import AsgiLoadReports, WsgiLoadReports
    from balancekit.reported._meter import Arrival, LoadMeter, ProbedLoad
    from balancekit.reported._orca import (
        LOAD_HEADER,
        LOAD_HEADER_BINARY,
        InvalidLoadReportError,
        format_orca,
        parse_orca,
    )
    from balancekit.reported._prequal import Prequal, ProbePool, ProbePoolMachine
    from balancekit.reported._probed import Probed
    from balancekit.reported._round_robin import ReportedRoundRobin
    from balancekit.reported._weights import (
        MissingWeight,
        ReportedWeights,
        ReportedWeightsMachine,
        utilization,
    )

__all__ = [
    "LOAD_HEADER",
    "LOAD_HEADER_BINARY",
    "Arrival",
    "AsgiLoadReports",
    "HeaderReports",
    "InvalidLoadReportError",
    "LatencyByLoad",
    "LoadMeter",
    "MissingWeight",
    "NodeAttributes",
    "Prequal",
    "ProbePool",
    "ProbePoolMachine",
    "Probed",
    "ProbedLoad",
    "ReportedRoundRobin",
    "ReportedWeights",
    "ReportedWeightsMachine",
    "WsgiLoadReports",
    "format_orca",
    "parse_orca",
    "utilization",
]

if not TYPE_CHECKING:  # type checkers read the imports above, and know no other names
    __getattr__ = lazily(
        __name__,
        {
            "_attributes": ("NodeAttributes",),
            "_headers": ("HeaderReports",),
            "_latency_by_load": ("LatencyByLoad",),
            "_load_headers": ("AsgiLoadReports", "WsgiLoadReports"),
            "_meter": ("Arrival", "LoadMeter", "ProbedLoad"),
            "_orca": (
                "LOAD_HEADER",
                "LOAD_HEADER_BINARY",
                "InvalidLoadReportError",
                "format_orca",
                "parse_orca",
            ),
            "_prequal": ("Prequal", "ProbePool", "ProbePoolMachine"),
            "_probed": ("Probed",),
            "_round_robin": ("ReportedRoundRobin",),
            "_weights": ("MissingWeight", "ReportedWeights", "ReportedWeightsMachine", "utilization"),
        },
    )


def __dir__() -> list[str]:
    return list(__all__)
