"""Names, texts and labels of the metrics, for all exporters."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from balancekit._support.extras import extra

with extra("prometheus"):
    from prometheus_client import CollectorRegistry, Counter, Gauge
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

from balancekit.health import Health, Membership

__all__ = ["BUCKETS", "EACH", "STATES", "TEXTS", "Direct", "families"]

BUCKETS: Final = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)
"""The bounds of duration buckets in seconds, from OpenTelemetry's semantic conventions for HTTP clients."""
STATES: Final = (
    *dict.fromkeys(
        [
            *[health.value for health in Health],
            "cooling",
            *[place.value for place in Membership if place is not Membership.SERVING],
        ]
    ),
)
"""Every value of the label ``state``."""

EACH: Final = ("service", "endpoint")
"""The labels of metrics per endpoint."""

TEXTS: Final[Mapping[str, str]] = {
    "requests": "Number of ended requests, by outcome.",
    "duration": "Duration of successful requests in seconds, up to the first byte if the application reports it.",
    "inflight": "Number of requests in flight (open leases).",
    "tokens": "Number of tokens in answers, as the application reports them.",
    "speed": "Median of recent answers: tokens per second after the first token.",
    "first_byte": "Median of recent requests: seconds to the first byte, if the application reports it.",
    "weight": "Configured weight of the endpoint.",
    "state": "1 for the present state of the endpoint, 0 for every other state.",
    "ejections": "Number of ejections of the endpoint, by reason.",
    "retries": "Number of retries after a failed attempt, by reason.",
    "exhausted": "Number of retries that were not made because the retry budget was exhausted.",
    "hedges": "Number of hedged requests (a second attempt started before the first ended), by result: won or lost.",
    "failures": "Number of requests for which no endpoint could be picked, by reason.",
    "panic": "1 while health is ignored because too few endpoints are healthy, else 0.",
    "refreshes": "Number of answers of the resolver, by result.",
    "success": "Unix time of the last successful answer of the resolver, in seconds.",
    "endpoints": "Number of endpoints in the last answer of the resolver.",
}
"""The help text of each metric."""


class Direct:
    """The metrics of one registry for several processes. They are written directly, and not read at a scrape."""

    def __init__(self, registry: CollectorRegistry) -> None:
        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(name, text, ("service", *labels), registry=registry)

        def gauge(name: str, text: str, mode: Any, *labels: str) -> Gauge:
            return Gauge(name, text, ("service", *labels), registry=registry, multiprocess_mode=mode)

        self.requests = counter("balancekit_requests", TEXTS["requests"], "endpoint", "outcome")
        self.inflight = gauge("balancekit_inflight_requests", TEXTS["inflight"], "livesum", "endpoint")
        self.tokens = counter("balancekit_tokens", TEXTS["tokens"], "endpoint")
        self.speed = gauge("balancekit_tokens_per_second", TEXTS["speed"], "livemostrecent", "endpoint")
        self.first_byte = gauge(
            "balancekit_first_byte_seconds", TEXTS["first_byte"], "livemostrecent", "endpoint"
        )
        self.weight = gauge("balancekit_endpoint_weight", TEXTS["weight"], "livemostrecent", "endpoint")
        self.state = gauge("balancekit_endpoint_state", TEXTS["state"], "livemostrecent", "endpoint", "state")
        self.ejections = counter("balancekit_ejections", TEXTS["ejections"], "endpoint", "reason")
        self.retries = counter("balancekit_retries", TEXTS["retries"], "reason")
        self.exhausted = counter("balancekit_retry_budget_exhausted", TEXTS["exhausted"])
        self.hedges = counter("balancekit_hedges", TEXTS["hedges"], "result")
        self.failures = counter("balancekit_pick_failures", TEXTS["failures"], "reason")
        self.refreshes = counter("balancekit_resolver_refreshes", TEXTS["refreshes"], "resolver", "result")
        self.success = gauge(
            "balancekit_resolver_last_success_timestamp_seconds", TEXTS["success"], "livemax", "resolver"
        )
        self.endpoints = gauge(
            "balancekit_resolver_endpoints", TEXTS["endpoints"], "livemostrecent", "resolver"
        )
        self.panic = gauge("balancekit_panic", TEXTS["panic"], "livemostrecent")


def families() -> dict[str, Any]:
    """Return the metric families of a scrape, without samples, by the keys of :data:`TEXTS`."""
    return {
        "requests": CounterMetricFamily("balancekit_requests", TEXTS["requests"], labels=(*EACH, "outcome")),
        "inflight": GaugeMetricFamily("balancekit_inflight_requests", TEXTS["inflight"], labels=EACH),
        "tokens": CounterMetricFamily("balancekit_tokens", TEXTS["tokens"], labels=EACH),
        "speed": GaugeMetricFamily("balancekit_tokens_per_second", TEXTS["speed"], labels=EACH),
        "first_byte": GaugeMetricFamily("balancekit_first_byte_seconds", TEXTS["first_byte"], labels=EACH),
        "weight": GaugeMetricFamily("balancekit_endpoint_weight", TEXTS["weight"], labels=EACH),
        "state": GaugeMetricFamily("balancekit_endpoint_state", TEXTS["state"], labels=(*EACH, "state")),
        "ejections": CounterMetricFamily(
            "balancekit_ejections", TEXTS["ejections"], labels=(*EACH, "reason")
        ),
        "retries": CounterMetricFamily("balancekit_retries", TEXTS["retries"], labels=("service", "reason")),
        "exhausted": CounterMetricFamily(
            "balancekit_retry_budget_exhausted", TEXTS["exhausted"], labels=("service",)
        ),
        "hedges": CounterMetricFamily("balancekit_hedges", TEXTS["hedges"], labels=("service", "result")),
        "failures": CounterMetricFamily(
            "balancekit_pick_failures", TEXTS["failures"], labels=("service", "reason")
        ),
        "panic": GaugeMetricFamily("balancekit_panic", TEXTS["panic"], labels=("service",)),
        "refreshes": CounterMetricFamily(
            "balancekit_resolver_refreshes", TEXTS["refreshes"], labels=("service", "resolver", "result")
        ),
        "success": GaugeMetricFamily(
            "balancekit_resolver_last_success_timestamp_seconds",
            TEXTS["success"],
            labels=("service", "resolver"),
        ),
        "endpoints": GaugeMetricFamily(
            "balancekit_resolver_endpoints", TEXTS["endpoints"], labels=("service", "resolver")
        ),
    }
