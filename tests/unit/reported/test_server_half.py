"""The server's half: a meter of its own load, and middleware that sends it."""

from __future__ import annotations

import asyncio
import itertools

import h11
import pytest

from balancekit import ConfigurationError
from balancekit.outcome import LoadReport
from balancekit.reported import LOAD_HEADER, AsgiLoadReports, LoadMeter, WsgiLoadReports, parse_orca
from balancekit.testing import ManualClock


def meter(**options):
    """Return a meter with a clock in hand, and the clock."""
    clock = ManualClock()
    return LoadMeter(clock=clock, processors=lambda: 0.0, **options), clock


def test_rates_are_those_of_the_last_window():
    """Rates are those of the last window, from the first second on, and zero after a long silence."""
    found, clock = meter(window=5.0)
    for k in range(400):
        found.started()
        clock.advance(0.05)
        found.finished(failed=k % 10 == 0)
        if k > 40:
            assert found.report().rps == pytest.approx(20.0, rel=0.06)
    assert found.report().eps == pytest.approx(2.0, rel=0.15)
    clock.advance(60.0)
    assert found.report().rps < 0.001


def test_utilization_is_open_requests_by_capacity_or_what_the_application_says():
    """Utilization is open requests by capacity, or what the application says; other figures go by name."""
    found, _ = meter(capacity=4)
    found.started()
    found.started()
    assert found.report().application_utilization == 0.5
    found.finished()
    assert found.report().application_utilization == 0.25
    told, _ = meter(utilization=lambda: 0.7, metrics=lambda: {"kv": 0.3})
    assert (told.report().application_utilization, dict(told.report().named_metrics)) == (0.7, {"kv": 0.3})
    assert meter()[0].report().application_utilization == 0.0


def test_processors_are_measured_over_a_second_at_least(monkeypatch):
    """The utilization of processors is measured over a second at least.

    It is seconds used by seconds passed by processors.
    """
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    clock, used = ManualClock(), itertools.count(0.0, 1.0)
    found = LoadMeter(clock=clock, processors=lambda: next(used))
    assert found.report().cpu_utilization == 0.0
    clock.advance(2.0)
    assert found.report().cpu_utilization == 0.25
    clock.advance(0.5)
    assert found.report().cpu_utilization == 0.25


def test_wrong_options_are_refused_by_name():
    """A wrong option raises ``ConfigurationError``, which names the option."""
    for name in ("capacity", "window", "utilization", "metrics"):
        with pytest.raises(ConfigurationError, match=name):
            LoadMeter(**{name: 0})
    for kind in (AsgiLoadReports, WsgiLoadReports):
        with pytest.raises(ConfigurationError, match="app"):
            kind(None)


def asgi(app, scope_type="http"):
    """Call an application once; return what it sent."""
    sent = []

    async def send(message):
        sent.append(message)

    async def call():
        await app({"type": scope_type}, None, send)

    asyncio.run(call())
    return sent


@pytest.mark.parametrize(("status", "errors"), [(200, 0), (404, 0), (500, 1)])
def test_asgi_answers_carry_a_report(status, errors):
    """ASGI answers carry a report and keep their other headers. A 5xx counts as an error, and nothing stays open."""

    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": status, "headers": [(b"x", b"y")]})
        await send({"type": "http.response.body", "body": b"well"})

    found, _ = meter(capacity=10)
    start, body = asgi(AsgiLoadReports(app, found))
    (kept, (name, value)) = start["headers"]
    assert (kept, name) == ((b"x", b"y"), b"endpoint-load-metrics")
    assert parse_orca(value.decode()).application_utilization == 0.1
    assert body["body"] == b"well"
    assert found.report().application_utilization == 0.0
    assert (found.report().eps > 0.0) is bool(errors)


def test_asgi_leaves_other_scopes_alone_and_counts_exceptions():
    """A websocket is passed through.

    An ASGI application that raises counts as an error, and its request is closed.
    """

    async def app(scope, receive, send):
        await send({"type": "websocket.accept"})
        if scope["type"] == "http":
            raise RuntimeError("broken")

    found, _ = meter(capacity=1)
    assert asgi(AsgiLoadReports(app, found), "websocket") == [{"type": "websocket.accept"}]
    with pytest.raises(RuntimeError, match="broken"):
        asgi(AsgiLoadReports(app, found))
    assert found.report().application_utilization == 0.0
    assert found.report().eps > 0.0


class Body:
    """A body that notes whether it was closed."""

    def __init__(self, parts):
        self.parts = iter(parts)
        self.closed = False

    def __iter__(self):
        return self.parts

    def close(self):
        self.closed = True


def test_wsgi_answers_carry_a_report_and_bodies_are_closed():
    """WSGI answers carry a report, and a request is open until its body is read or given up."""
    body = Body([b"a", b"b"])

    def app(environ, start_response):
        start_response("503 Busy", [("x", "y")])
        return body

    found, _ = meter(capacity=1)
    given = []
    parts = WsgiLoadReports(app, found)({}, lambda status, headers: given.append((status, headers)))
    assert next(parts) == b"a"
    assert found.report().application_utilization == 1.0
    ((status, headers),) = given
    assert status == "503 Busy"
    assert headers[0] == ("x", "y")
    assert parse_orca(headers[1][1]).application_utilization == 1.0
    parts.close()
    assert body.closed
    assert found.report().application_utilization == 0.0
    assert found.report().eps > 0.0


def test_a_wsgi_application_that_raises_counts_as_an_error():
    """A WSGI application that raises counts as an error, and the exception is raised again."""

    def app(environ, start_response):
        raise RuntimeError("broken")

    found, _ = meter(capacity=1)
    with pytest.raises(RuntimeError, match="broken"):
        list(WsgiLoadReports(app, found)({}, None))
    assert found.report().application_utilization == 0.0
    assert found.report().eps > 0.0


def test_a_wsgi_body_that_cannot_be_closed_is_a_request_that_has_ended():
    """The meter counts no request as open whose body raised in ``close``."""

    class Body(list):
        def close(self):
            raise OSError("no space left")

    def app(environ, start_response):
        start_response("200 OK", [])
        return Body([b"x"])

    reporting = WsgiLoadReports(app)
    with pytest.raises(OSError, match="no space"):
        list(reporting({}, lambda *rest: None))
    assert reporting.meter.probed().in_flight == 0


@pytest.mark.parametrize(("status", "errors"), [(None, False), (200, False), (503, True)])
def test_a_client_that_leaves_is_no_error_of_the_server(status, errors):
    """An ASGI application that is cancelled counts as an error only if it had answered with one."""

    async def app(scope, receive, send):
        if status is not None:
            await send({"type": "http.response.start", "status": status, "headers": []})
        raise asyncio.CancelledError

    async def send(message):
        pass

    reporting = AsgiLoadReports(app)
    with pytest.raises(asyncio.CancelledError):
        asyncio.run(reporting({"type": "http"}, None, send))
    assert (reporting.meter.report().eps > 0.0) is errors


def test_a_report_without_figures_is_a_header_that_servers_send():
    """The header of a report without figures does not end with a blank, so that h11 sends the answer."""
    (text,) = LoadMeter().report_texts()
    h11.Response(status_code=200, headers=[(LOAD_HEADER, text)])
    assert parse_orca(text) == LoadReport()


NAMES = ["a\r\nSet-Cookie: b", "a,b", "a=b", "a:b", " a", "a b", "", "\u00fc", "\ud800", "a" * 20_000]


@pytest.mark.parametrize(
    "metrics",
    [{"kv": float("nan")}, {"kv": -1.0}, {"kv": "much"}, *[{name: 1.0} for name in NAMES]],
    ids=lambda metrics: ascii(metrics)[:40],
)
@pytest.mark.parametrize("kind", ["asgi", "wsgi"])
def test_an_answer_does_not_fail_because_its_report_does(kind, metrics, caplog):
    """A figure of the application that cannot be sent or read back costs the header and is logged once; the answer is sent."""
    meter, sent = LoadMeter(metrics=lambda: metrics), []

    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": [(b"x", b"1")]})

    async def send(message):
        sent.append(message["headers"])

    def wsgi(environ, start_response):
        start_response("200 OK", [(b"x", b"1")])
        return []

    for _ in range(2):
        if kind == "asgi":
            asyncio.run(AsgiLoadReports(app, meter)({"type": "http"}, None, send))
        else:
            list(WsgiLoadReports(wsgi, meter)({}, lambda status, headers: sent.append(headers)))
    assert sent == [[(b"x", b"1")]] * 2
    assert caplog.text.count("a load report cannot be made") == 1


def test_a_clock_that_goes_back_counts_no_request_for_longer():
    """Rates stay those of the last window when the clock is set back by an hour."""
    now = 10_000.0
    found = LoadMeter(clock=lambda: now, processors=lambda: 0.0, window=5.0)
    for k in range(2_000):
        found.finished(found.started())
        now += 0.05 if k != 1_000 else -3_600.0
        if k > 200:
            assert found.report().rps == pytest.approx(20.0, rel=0.06)
