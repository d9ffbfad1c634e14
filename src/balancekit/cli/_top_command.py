"""The command ``balancekit top``: a live view of a running process by its metrics.

The process exposes Prometheus metrics (``balancekit.observability.prometheus``). This command reads them once per interval and
shows rates. The parser of prometheus_client reads the text format.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import threading
import time
import urllib.request
from collections.abc import Iterable
from http.client import HTTPException
from queue import Empty, SimpleQueue
from typing import Final, NamedTuple
from urllib.parse import urlsplit

from prometheus_client.parser import text_string_to_metric_families
from rich.live import Live
from rich.table import Table

from balancekit._support import validation as valid
from balancekit._support.headers import without_secrets
from balancekit._support.text import with_ascii_host
from balancekit.cli._console import output
from balancekit.errors import ConfigurationError, printable, without_passwords
from balancekit.outcome import FAILURES

__all__ = ["EndpointRow", "rates", "readings", "run_top"]

WIDE: Final = 100
TIMEOUT_S: Final = 5.0
MAX_BYTES: Final = 50_000_000
SCHEMES: Final = ("http", "https")
NARROW_COLUMNS: Final = 72
"""The width of a terminal below which some columns are left out, so that ids are shown."""
FAILED: Final = frozenset([outcome.value for outcome in FAILURES])
"""Values of the label ``outcome`` that count as failures of an endpoint."""
_HANDLERS: Final = (
    urllib.request.ProxyHandler,
    urllib.request.HTTPHandler,
    urllib.request.HTTPSHandler,
    urllib.request.HTTPDefaultErrorHandler,
    urllib.request.HTTPRedirectHandler,
    urllib.request.HTTPErrorProcessor,
    urllib.request.UnknownHandler,
)
"""Handlers of ``urlopen`` for HTTP only, so that a redirect to ``ftp:`` or ``file:`` is not followed."""


class Reading(NamedTuple):
    """The counters of one endpoint at one time."""

    state: str
    inflight: float
    requests: float
    failures: float
    seconds: float
    """Sum of the latencies of successful requests; the others have none."""
    timed: float
    """The number of these requests."""


NO_READING: Final = Reading("", 0.0, 0.0, 0.0, 0.0, 0.0)
"""The counters of an endpoint that is new, or whose process was restarted."""


class EndpointRow(NamedTuple):
    """A row of the table: the rates of one endpoint."""

    service: str
    endpoint: str
    state: str
    inflight: int
    per_second: float
    failed: float
    """Failures per second."""
    mean: float | None
    """Mean latency of the successful requests of the last interval, in seconds; ``None`` without any."""


def run_top(options: argparse.Namespace) -> int:
    """Show the endpoints of a process until interrupted; return the exit status."""
    valid.number("--interval", options.interval, minimum=0.05, maximum=3600.0, unit="seconds")
    valid.integer("--count", options.count, minimum=0)
    if not _names_a_page(options.url):
        allowed = "an http or https URL without a password, and with a port from 1 to 65535 if it has one"
        raise ConfigurationError("URL", without_secrets(options.url), allowed)
    before, then = _fetch(options.url), time.monotonic()
    console = output(WIDE, markup=False, emoji=False)  # brackets in names are printed as they are
    with Live(console=console, auto_refresh=False, transient=False) as live:
        shown = 0
        while not options.count or shown < options.count:
            time.sleep(options.interval)
            after, now = _fetch(options.url), time.monotonic()
            rows = rates(before, after, now - then)
            if options.json:
                sys.stdout.write(json.dumps([row._asdict() for row in rows]) + "\n")
                sys.stdout.flush()
            else:
                live.update(_table(rows, console.width), refresh=True)
            before, then, shown = after, now, shown + 1
    return 0


def _names_a_page(url: str) -> bool:
    """Return whether a URL has all that is needed to fetch a page. A password would be looked up in DNS."""
    try:
        parts = urlsplit(url)
        port = parts.port  # refuses one above 65535, which the system would take the low bits of
    except ValueError:
        return False
    return parts.scheme in SCHEMES and bool(parts.hostname) and port != 0 and "@" not in url.partition("?")[0]


def readings(text: str) -> dict[tuple[str, str], Reading]:
    """Return the counters in a page of metrics, by service and endpoint.

    Raises
    ------
    ValueError
        If the page is not in Prometheus' text format, or has no metrics of a balancer.
    """
    states: dict[tuple[str, str], str] = {}
    found: dict[tuple[str, str], dict[str, float]] = {}
    for family in text_string_to_metric_families(text):
        for name, labels, value, *_ in family.samples:
            if not name.startswith("balancekit_") or "endpoint" not in labels or not math.isfinite(value):
                continue
            key = (labels.get("service", ""), labels["endpoint"])
            own = found.setdefault(
                key, dict.fromkeys(("inflight", "requests", "failures", "seconds", "timed"), 0.0)
            )
            if name == "balancekit_endpoint_state" and value == 1.0:
                states[key] = labels.get("state", "")
            elif name == "balancekit_inflight_requests":
                own["inflight"] = value
            elif name == "balancekit_request_duration_seconds_sum":
                own["seconds"] = value
            elif name == "balancekit_request_duration_seconds_count":
                own["timed"] = value
            elif name == "balancekit_requests_total":
                own["requests"] += value
                own["failures"] += value if labels.get("outcome") in FAILED else 0.0
    if not found:
        raise ValueError("no metrics of a balancer; does the process register a BalancerCollector?")
    return {key: Reading(state=states.get(key, ""), **values) for key, values in found.items()}


def rates(
    before: dict[tuple[str, str], Reading], after: dict[tuple[str, str], Reading], seconds: float
) -> list[EndpointRow]:
    """Return the rates between two readings. If a counter has decreased, the process was restarted, and it counts from 0."""
    rows = []
    for (service, endpoint), now in sorted(after.items()):
        was = before.get((service, endpoint), NO_READING)
        if now.requests < was.requests:
            was = NO_READING
        timed = now.timed - was.timed
        mean = (now.seconds - was.seconds) / timed if timed else None
        rows.append(
            EndpointRow(
                service,
                without_passwords(endpoint),
                now.state,
                int(now.inflight),
                (now.requests - was.requests) / seconds,
                (now.failures - was.failures) / seconds,
                mean,
            )
        )
    return rows


def _fetch(url: str) -> dict[tuple[str, str], Reading]:
    """Read the counters of a process.

    Raises
    ------
    OSError
        If there is no answer within 5 s, or the answer has no metrics of a balancer.
    """
    results: SimpleQueue[str | Exception] = SimpleQueue()
    # In a thread, because the timeout of urllib applies to each read: a slow answer could take forever.
    threading.Thread(target=_read, args=(url, results), daemon=True).start()
    try:
        page = results.get(timeout=TIMEOUT_S)
        if isinstance(page, Exception):
            raise page
        return readings(page)
    except Empty:
        raise OSError(f"{without_secrets(url)}: no answer within {TIMEOUT_S:g} s") from None
    except (OSError, ValueError, HTTPException) as error:
        raise OSError(f"{without_secrets(url)}: {error or type(error).__name__}") from None


def _read(url: str, results: SimpleQueue[str | Exception]) -> None:
    """Put the page at a URL into a queue, or the exception."""
    opener = urllib.request.OpenerDirector()
    for handler in _HANDLERS:
        opener.add_handler(handler())
    try:
        with opener.open(with_ascii_host(url), timeout=TIMEOUT_S) as response:
            results.put(response.read(MAX_BYTES).decode("utf-8"))
    except Exception as error:
        results.put(error)


def _table(rows: Iterable[EndpointRow], width: int) -> Table:
    """Return a table that shows ids on one line on a terminal of 80 columns."""
    narrow = width < NARROW_COLUMNS
    table = Table(box=None, pad_edge=False)
    for column in ("endpoint",) if narrow else ("service", "endpoint"):
        table.add_column(column, overflow="fold")
    table.add_column("state", no_wrap=True)
    numbers = ("requests\n/s", "mean\nlatency")
    for column in numbers if narrow else ("in\nflight", numbers[0], "failures\n/s", numbers[1]):
        table.add_column(column, justify="right", no_wrap=True)
    for row in rows:
        endpoint, state = printable(row.endpoint), printable(row.state)
        mean = "-" if row.mean is None else f"{row.mean * 1e3:.1f} ms"
        rate = f"{row.per_second:.1f}"
        if narrow:
            table.add_row(endpoint, state, rate, mean)
        else:
            failed = f"{row.failed:.1f}"
            table.add_row(printable(row.service), endpoint, state, f"{row.inflight}", rate, failed, mean)
    return table
