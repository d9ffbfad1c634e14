"""OpenTelemetry metrics of a balancer in seven observable instruments, and retries as events of the current span.

=================================  =======  ===================================================
``balancekit.client.attempts``     counter  ended leases, by endpoint and outcome
``balancekit.client.inflight``     up-down  open leases, by endpoint
``balancekit.client.ejections``    counter  ejections, by endpoint and reason
``balancekit.client.retries``      counter  attempts after a failed one, by reason
``balancekit.client.first_byte``   gauge    median seconds to the first byte, by endpoint
``balancekit.client.tokens``       counter  tokens of answers, by endpoint
``balancekit.client.token_speed``  gauge    median tokens per second of an answer, by endpoint
=================================  =======  ===================================================

Counters never decrease. The total of an endpoint that is removed and added again continues. The last three have values for
endpoints whose requests report first bytes or tokens. The SDK reads the instruments when it collects, so they add no cost
to a pick. This module records no durations and no spans; use the instrumentation of
the HTTP client, which records each attempt with its address. A retry is an event ``balancekit.retry`` on the current
span.

Needs the extra ``otel``, which installs the API only. Without an SDK in the application, nothing is reported.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from operator import is_not
from typing import Any, Final, NamedTuple, TypeAlias, final
from weakref import WeakKeyDictionary

from balancekit._support.extras import extra

with extra("otel"):
    from opentelemetry import metrics, trace
    from opentelemetry.metrics import CallbackOptions, Meter, Observation

from balancekit._support import validation as valid
from balancekit._support.fork import new_lock
from balancekit._support.weak import weakly
from balancekit._support.whole import begin_all
from balancekit.events import Event, Retried
from balancekit.observability._event_counters import EventCounters
from balancekit.observability._totals import Count, EndpointTotals, Total, by_id, tokens_of, with_leaving
from balancekit.outcome import FAILURES
from balancekit.protocols import ObservableBalancer, require_balancer
from balancekit.statistics_view import EndpointStats

__all__ = ["instrument"]

Observations: TypeAlias = Iterable[Observation]
MAX_PORT: Final = 65_535
MAX_PORT_DIGITS: Final = 5
ERRORS: Final = frozenset(outcome.value for outcome in FAILURES)


def instrument(
    balancer: ObservableBalancer[Any],
    *,
    service: str,
    meter: Meter | None = None,
) -> Callable[[], None]:
    """Report the metrics and retries of a balancer to OpenTelemetry. Return a function that stops this.

    All balancers of a meter share its instruments, because an SDK collects each name once. Their values differ in the
    attribute ``balancekit.service``.

    OpenTelemetry cannot remove instruments. So the instruments reference a balancer weakly: a balancer without other
    references is garbage-collected, and no longer reported.

    Parameters
    ----------
    balancer
        The balancer.
    service
        The logical name of the balancer, for ``server.address`` and ``balancekit.service``. It must be unique per
        balancer.
    meter
        The meter; by default, one of the global provider.

    Raises
    ------
    ConfigurationError
        If ``balancer`` is no balancer, or ``service`` is empty.

    Example
    -------
    >>> from balancekit import LoadBalancer
    >>> from balancekit.observability.opentelemetry import instrument
    >>> stop = instrument(LoadBalancer(["10.0.0.1:80"]), service="orders")
    >>> stop()
    """
    require_balancer(balancer)
    name = valid.text("service", service)
    to = _instruments(meter)
    counters = EventCounters(balancer)
    totals = EndpointTotals()
    common: dict[str, str | int] = {"server.address": name, "balancekit.service": name}
    source = _Source(weakly(balancer), counters, totals, common)

    ends = begin_all(
        lambda: counters.stop,
        lambda: balancer.on_event(totals.on_event),
        lambda: balancer.on_event(_on_span),
    )

    def stop() -> None:
        to.remove(source)
        for end in ends:
            end()

    try:
        to.add(source)
    except BaseException:
        stop()
        raise
    return stop


class _Source(NamedTuple):
    """One exported balancer."""

    there: Callable[[], ObservableBalancer[Any] | None]
    """The balancer; ``None`` once it is collected."""
    counters: EventCounters
    totals: EndpointTotals
    common: dict[str, str | int]
    """The attributes of all its values."""


@final
class _Instruments:
    """The instruments of one meter, and the balancers that they report."""

    def __init__(self, meter: Meter) -> None:
        self._sources: tuple[_Source, ...] = ()
        self._lock = new_lock()
        meter.create_observable_counter(
            "balancekit.client.attempts",
            [self._attempts],
            "{attempt}",
            "Number of ended leases, by endpoint and outcome.",
        )
        meter.create_observable_up_down_counter(
            "balancekit.client.inflight", [self._inflight], "{request}", "Number of open leases, by endpoint."
        )
        meter.create_observable_counter(
            "balancekit.client.ejections",
            [self._ejections],
            "{ejection}",
            "Number of ejections, by endpoint and reason.",
        )
        meter.create_observable_counter(
            "balancekit.client.retries",
            [self._retries],
            "{retry}",
            "Number of retries after a failed attempt, by reason.",
        )
        meter.create_observable_gauge(
            "balancekit.client.first_byte",
            [self._first_bytes],
            "s",
            "Median of recent requests: seconds to the first byte, by endpoint.",
        )
        meter.create_observable_counter(
            "balancekit.client.tokens", [self._tokens], "{token}", "Number of tokens in answers, by endpoint."
        )
        meter.create_observable_gauge(
            "balancekit.client.token_speed",
            [self._speeds],
            "{token}/s",
            "Median of recent answers: tokens per second after the first token, by endpoint.",
        )

    def add(self, source: _Source) -> None:
        """Start to report a balancer."""
        with self._lock:
            self._sources = (*self._present(), source)

    def remove(self, source: _Source) -> None:
        """Stop reporting a balancer."""
        with self._lock:
            self._sources = tuple(filter(partial(is_not, source), self._sources))  # no loop under a lock

    def _present(self) -> list[_Source]:
        return [one for one in self._sources if one.there() is not None]

    def _endpoints(self) -> Iterator[tuple[EndpointStats, dict[str, str | int]]]:
        """Yield one endpoint for each id, and its attributes."""
        for source in self._sources:
            balancer = source.there()
            if balancer is not None:
                for id, one in by_id(balancer.stats()).items():
                    yield one, source.common | _peer(id)

    def _totals(self, counts: Callable[[_Source], Iterable[Count]]) -> Iterator[tuple[_Source, Total]]:
        """Yield the totals that are not 0, with their balancers."""
        for source in self._present():
            for one in source.totals.read(partial(counts, source)):
                if one.value:
                    yield source, one

    def _attempts(self, _options: CallbackOptions) -> Observations:
        for source, one in self._totals(_attempts):
            outcome = one.label
            attributes = source.common | _peer(one.endpoint) | {"balancekit.outcome": outcome}
            if outcome in ERRORS:
                attributes["error.type"] = outcome
            yield Observation(one.value, attributes)

    def _inflight(self, _options: CallbackOptions) -> Observations:
        for source in self._present():
            inflight = Counter[str]()
            for one in _stats(source):
                inflight[one.id] += one.inflight
            for id, count in inflight.items():
                yield Observation(count, source.common | _peer(id))

    def _ejections(self, _options: CallbackOptions) -> Observations:
        for source, one in self._totals(_ejections):
            attributes = source.common | _peer(one.endpoint) | {"balancekit.reason": one.label}
            yield Observation(one.value, attributes)

    def _retries(self, _options: CallbackOptions) -> Observations:
        for source in self._present():
            for why, count in source.counters.retries.items():
                yield Observation(count, source.common | {"balancekit.reason": why})

    def _first_bytes(self, _options: CallbackOptions) -> Observations:
        for one, attributes in self._endpoints():
            if one.first_byte is not None:
                yield Observation(one.first_byte.p50, attributes)

    def _tokens(self, _options: CallbackOptions) -> Observations:
        for source, one in self._totals(_tokens):
            yield Observation(one.value, source.common | _peer(one.endpoint))

    def _speeds(self, _options: CallbackOptions) -> Observations:
        for one, attributes in self._endpoints():
            if one.tokens_per_second is not None:
                yield Observation(one.tokens_per_second.p50, attributes)


def _attempts(source: _Source) -> list[Count]:
    balancer = source.there()
    if balancer is None:
        return []
    return [
        Count(one.id, "attempts", outcome.value, count, leaving)
        for one, leaving in with_leaving(balancer)
        for outcome, count in one.outcomes.items()
    ]


def _tokens(source: _Source) -> list[Count]:
    balancer = source.there()
    return [] if balancer is None else tokens_of(balancer)


def _ejections(source: _Source) -> list[Count]:
    present = {one.id for one in _stats(source)}
    counted = source.counters.ejections.items()
    return [Count(id, "ejections", why, count) for (id, why), count in counted if id in present]


def _stats(source: _Source) -> tuple[EndpointStats, ...]:
    balancer = source.there()
    return () if balancer is None else balancer.stats().endpoints


_made: Final[WeakKeyDictionary[Meter, _Instruments]] = WeakKeyDictionary()
_global: list[Meter] = []
"""The meter of the global provider, fetched once, because without an SDK each call returns a new one."""
_making: Final = new_lock()


def _instruments(meter: Meter | None) -> _Instruments:
    """Return the instruments of a meter, created on first use."""
    with _making:
        if meter is None:
            if not _global:
                _global.append(metrics.get_meter("balancekit"))
            meter = _global[0]
        found = _made.get(meter)
        if found is None:
            found = _made[meter] = _Instruments(meter)
        return found


def _on_span(event: Event) -> None:
    if isinstance(event, Retried):
        attributes = {"balancekit.endpoint": event.endpoint, "balancekit.reason": event.reason}
        trace.get_current_span().add_event("balancekit.retry", attributes)


def _peer(endpoint: str) -> dict[str, str | int]:
    """Return the attributes of an endpoint: address and port, if its id has them."""
    host, colon, port = endpoint.rpartition(":")
    if colon and port.isascii() and port.isdigit() and len(port) <= MAX_PORT_DIGITS and int(port) <= MAX_PORT:
        bare = host.rpartition("//")[2].removeprefix("[").removesuffix("]")
        return {"network.peer.address": bare, "network.peer.port": int(port)}
    return {"network.peer.address": endpoint}
