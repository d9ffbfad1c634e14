"""Metrics, traces and logs of a balancer: one module each, with its own extra.

``prometheus`` is a collector that reads the balancer at each scrape. ``opentelemetry`` has observable instruments and a
span event for retries. ``logs`` turns events into records of the standard library's ``logging``. None of them is on the path
of a pick; only the duration histogram is written when a request ends.
"""

from __future__ import annotations

from balancekit._support.lazy import lazily

TYPE_CHECKING = False
if TYPE_CHECKING:
    from balancekit.observability._event_counters import EventCounters, reason
    from balancekit.observability.logs import log_events

__all__ = ["EventCounters", "log_events", "reason"]

if not TYPE_CHECKING:  # type checkers read the imports above, and know no other names
    __getattr__ = lazily(
        __name__,
        {"_event_counters": ("EventCounters", "reason"), "logs": ("log_events",)},
    )


def __dir__() -> list[str]:
    return list(__all__)
