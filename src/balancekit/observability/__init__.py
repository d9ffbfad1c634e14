"""Metrics, traces and logs of a balancer.

``prometheus`` has collectors that read the balancer at each scrape (extra ``prometheus``). ``opentelemetry`` has
observable instruments, and events of spans for retries (extra ``otel``). ``logs`` writes events to ``logging`` of the
standard library. None of them adds cost to a pick. The histogram of durations adds cost to the end of a request.
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
