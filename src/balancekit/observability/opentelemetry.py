"""OpenTelemetry: seven observable instruments, and an event on the caller's span.

=================================  =======  ===================================================
``balancekit.client.attempts``     counter  leases that have ended, by endpoint and outcome
``balancekit.client.inflight``     up-down  open leases, by endpoint
``balancekit.client.ejections``    counter  times that health took an endpoint out, by reason
``balancekit.client.retries``      counter  attempts elsewhere after one that failed, by reason
``balancekit.client.first_byte``   gauge    median seconds to the first byte, by endpoint
``balancekit.client.tokens``       counter  tokens of answers, by endpoint
``balancekit.client.token_speed``  gauge    median tokens a second of an answer, by endpoint
=================================  =======  ===================================================

The last three are there for endpoints whose requests report first bytes or tokens.
Read when the SDK collects, so a pick pays nothing for it. Durations and spans are the HTTP client's instrumentation's: it sees
each attempt with the address it really went to. A retry is an event ``balancekit.retry`` on the span that is current.

Needs the extra ``otel``: the API only; the application brings an SDK, or nothing happens.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final, TypeAlias

from balancekit._support.extras import extra

with extra("otel"):
    from opentelemetry import metrics, trace
    from opentelemetry.metrics import CallbackOptions, Meter, Observation

from balancekit._support import validation as valid
from balancekit._support.weak import weakly
from balancekit.events import Event, Retried
from balancekit.observability._event_counters import EventCounters
from balancekit.outcome import FAILURES
from balancekit.protocols import ObservableBalancer, require_balancer
from balancekit.statistics_view import EndpointStats

__all__ = ["instrument"]

Observations: TypeAlias = Iterable[Observation]
ERRORS: Final = frozenset(outcome.value for outcome in FAILURES)


def instrument(
    balancer: ObservableBalancer[Any],
    *,
    service: str,
    meter: Meter | None = None,
) -> Callable[[], None]:
    """Make the instruments of a balancer; return a function that ends the span events and counts.

    Instruments cannot be taken away again, so they keep no balancer alive: one that nothing else keeps is collected, and
    its instruments report nothing from then on.

    Parameters
    ----------
    balancer
        Whose.
    service
        Its logical name: ``server.address`` and ``balancekit.service``.
    meter
        Where to; that of the global provider if left out.

    Example
    -------
    >>> from balancekit import LoadBalancer
    >>> stop = instrument(LoadBalancer(["10.0.0.1:80"]), service="orders")
    >>> stop()
    """
    require_balancer(balancer)
    name = valid.text("service", service)
    to = metrics.get_meter("balancekit") if meter is None else meter
    counters = EventCounters(balancer)
    common: dict[str, str | int] = {"server.address": name, "balancekit.service": name}

    there = weakly(balancer)

    def endpoints() -> tuple[EndpointStats, ...]:
        live = there()
        return () if live is None else live.stats().endpoints

    def attempts(_options: CallbackOptions) -> Observations:
        for one in endpoints():
            for outcome, count in one.outcomes.items():
                if count:
                    found = common | _peer(one.id) | {"balancekit.outcome": outcome.value}
                    if outcome.value in ERRORS:
                        found["error.type"] = outcome.value
                    yield Observation(count, found)

    def inflight(_options: CallbackOptions) -> Observations:
        for one in endpoints():
            yield Observation(one.inflight, common | _peer(one.id))

    def ejections(_options: CallbackOptions) -> Observations:
        if there() is None:
            return
        for (endpoint, why), count in counters.ejections.items():
            yield Observation(count, common | _peer(endpoint) | {"balancekit.reason": why})

    def retries(_options: CallbackOptions) -> Observations:
        if there() is None:
            return
        for why, count in counters.retries.items():
            yield Observation(count, common | {"balancekit.reason": why})

    def first_bytes(_options: CallbackOptions) -> Observations:
        for one in endpoints():
            if one.first_byte is not None:
                yield Observation(one.first_byte.p50, common | _peer(one.id))

    def tokens(_options: CallbackOptions) -> Observations:
        for one in endpoints():
            if one.tokens:
                yield Observation(one.tokens, common | _peer(one.id))

    def speeds(_options: CallbackOptions) -> Observations:
        for one in endpoints():
            if one.tokens_per_second is not None:
                yield Observation(one.tokens_per_second.p50, common | _peer(one.id))

    to.create_observable_counter(
        "balancekit.client.attempts", [attempts], "{attempt}", "Leases that have ended."
    )
    to.create_observable_up_down_counter(
        "balancekit.client.inflight", [inflight], "{request}", "Open leases."
    )
    to.create_observable_counter(
        "balancekit.client.ejections", [ejections], "{ejection}", "Times that health took an endpoint out."
    )
    to.create_observable_counter(
        "balancekit.client.retries", [retries], "{retry}", "Attempts elsewhere after one that failed."
    )
    to.create_observable_gauge(
        "balancekit.client.first_byte",
        [first_bytes],
        "s",
        "Median time to the first byte of recent requests.",
    )
    to.create_observable_counter("balancekit.client.tokens", [tokens], "{token}", "Tokens of answers.")
    to.create_observable_gauge(
        "balancekit.client.token_speed", [speeds], "{token}/s", "Median speed of recent answers."
    )
    leave = balancer.on_event(_on_span)

    def stop() -> None:
        leave()
        counters.stop()

    return stop


def _on_span(event: Event) -> None:
    if isinstance(event, Retried):
        attributes = {"balancekit.endpoint": event.endpoint, "balancekit.reason": event.reason}
        trace.get_current_span().add_event("balancekit.retry", attributes)


def _peer(endpoint: str) -> dict[str, str | int]:
    """Return the attributes of an endpoint: address and port, if its id is one."""
    host, colon, port = endpoint.rpartition(":")
    if colon and port.isascii() and port.isdigit():
        bare = host.rpartition("//")[2].removeprefix("[").removesuffix("]")
        return {"network.peer.address": bare, "network.peer.port": int(port)}
    return {"network.peer.address": endpoint}
