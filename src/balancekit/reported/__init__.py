"""Load that servers report themselves: ORCA headers, weights from them, and the server's half.

=============================  ============================================================================
:func:`parse_orca`             a report from a header or trailer, in its three forms
:class:`ReportedRoundRobin`    a selector that weighs endpoints by their reports, as gRPC and Envoy do
:class:`ReportedWeights`       the rule behind it, usable alone
:class:`Prequal`               a selector that probes servers and avoids hot ones; runners are in ``checks``
:class:`LoadMeter`             a server's own figures
:class:`AsgiLoadReports`       ASGI middleware that sends them with every answer; :class:`WsgiLoadReports` for WSGI
=============================  ============================================================================

On the client's side, adapters read the header and call ``lease.report_load``; so may any other code.
"""

from __future__ import annotations

from balancekit._support.lazy import lazily

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from balancekit.reported._headers import HeaderReports
    from balancekit.reported._orca import (
        LOAD_HEADER,
        LOAD_HEADER_BINARY,
        InvalidLoadReportError,
        format_orca,
        parse_orca,
    )
    from balancekit.reported._prequal import Prequal, ProbePool, ProbePoolMachine
    from balancekit.reported._round_robin import ReportedRoundRobin
    from balancekit.reported._server import AsgiLoadReports, LoadMeter, WsgiLoadReports
    from balancekit.reported._weights import (
        MissingWeight,
        ReportedWeights,
        ReportedWeightsMachine,
        utilization,
    )

__all__ = [
    "LOAD_HEADER",
    "LOAD_HEADER_BINARY",
    "AsgiLoadReports",
    "HeaderReports",
    "InvalidLoadReportError",
    "LoadMeter",
    "MissingWeight",
    "Prequal",
    "ProbePool",
    "ProbePoolMachine",
    "ReportedRoundRobin",
    "ReportedWeights",
    "ReportedWeightsMachine",
    "WsgiLoadReports",
    "format_orca",
    "parse_orca",
    "utilization",
]

__getattr__: Callable[[str], object] = lazily(
    __name__,
    {
        "_headers": ("HeaderReports",),
        "_orca": ("LOAD_HEADER", "LOAD_HEADER_BINARY", "InvalidLoadReportError", "format_orca", "parse_orca"),
        "_prequal": ("Prequal", "ProbePool", "ProbePoolMachine"),
        "_round_robin": ("ReportedRoundRobin",),
        "_server": ("AsgiLoadReports", "LoadMeter", "WsgiLoadReports"),
        "_weights": ("MissingWeight", "ReportedWeights", "ReportedWeightsMachine", "utilization"),
    },
)


def __dir__() -> list[str]:
    return list(__all__)
