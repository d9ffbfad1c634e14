"""Texts for logs and terminals: what an id, a name or a server says never begins a line or moves a cursor."""

from __future__ import annotations

import logging

import pytest

from balancekit import Endpoint, LoadBalancer, Outcome
from balancekit._support.log import LateLog, log_change, log_error
from balancekit.adapters._routing import Router
from balancekit.errors import brief_error, printable
from balancekit.l7 import Request, Route, RouteTable, exact
from balancekit.observability import log_events
from balancekit.proxyconfig import LintFinding, NotModelled, PoolChange, ProxyRequest
from balancekit.proxyconfig._model import Origin

FORGED = [
    "a\nforged line",
    "a\r\nforged line",
    "a\x85forged line",
    "a\u2028forged line",
    "a\x1b[2Jx",
    "a\u202ex",
    "a\0x",
]
hostile = pytest.mark.parametrize("text", FORGED, ids=ascii)


def is_clean(text: str, lines: int = 1) -> bool:
    """Return whether a text has that many lines, each of printable characters."""
    found = text.split("\n")
    return len(found) == lines and all(line.isprintable() for line in found)


@hostile
def test_other_characters_become_escapes(text):
    """A text becomes one printable line; a printable one stays as it is."""
    assert is_clean(printable(text))
    assert printable("bücher:80 [::1]") == "bücher:80 [::1]"


@hostile
def test_a_message_of_the_library_is_one_line(text, caplog):
    """Ids and errors of servers that a message shows are escaped, whichever way it is logged."""
    log_change("watch of %s: %s", text, ValueError(text), bad=True)
    log_error("the hook of %s raised", text)
    late = LateLog()
    late.change("%r: %s", text, text, bad=False)
    late.error("%s", text)
    late.flush()
    assert len(caplog.records) >= 3
    assert all(is_clean(record.getMessage()) for record in caplog.records)


def test_an_error_that_is_one_line_is_logged_as_it_is(caplog):
    """The arguments of a message are changed only where they have to be."""
    error = ValueError("bad")
    log_change("%r of %s", error, "a", bad=True)
    assert caplog.records[-1].args == (error, "a")


@hostile
def test_an_event_is_logged_as_one_line(text, caplog):
    """The line of an event has an escaped id and cause; the record has both as they are, for JSON."""
    lb = LoadBalancer([text, "b"])
    log_events(lb)
    caplog.set_level(logging.DEBUG, "balancekit")
    while lb.stats()[text].state == "healthy":
        lb.acquire(exclude={"b"}).release(Outcome.FAILURE)
    lb.remove(text)
    assert len(caplog.records) >= 2
    assert all(is_clean(record.getMessage()) for record in caplog.records)
    assert {record.balancekit_endpoint for record in caplog.records} == {text}


@hostile
def test_views_of_a_balancer_have_a_line_for_each_endpoint(text):
    """An id adds no line to statistics and explanations."""
    lb = LoadBalancer([Endpoint(text), Endpoint("b", weight=0.0)])
    assert is_clean(str(lb.stats()), lines=3)
    explained = lb.explain(text)
    assert is_clean(str(explained), lines=1 + len(explained.notes) + 2)


@hostile
def test_views_of_routes_have_a_line_for_each_route(text):
    """A path or host of a request adds no line to explanations and refusals."""
    table = RouteTable([Route("orders", LoadBalancer(["a"]), path=exact("/orders"))])
    request = Request(f"/{text}", method="GET", host="shop.test")
    assert is_clean(str(table.explain(request)), lines=2)
    assert is_clean(Router(table, lambda _pool: None).refusal(request))


@hostile
def test_views_of_proxy_configurations_are_lines(text):
    """Names, addresses and access logs add no line to what is printed of them."""
    origin = Origin("nginx.conf", 3)
    pool = PoolChange(
        name=text, before={text: 1.0}, after={}, moved=None, exact=True, lost={}, changes=(text,)
    )
    assert is_clean(str(ProxyRequest(target=f"/{text}", host=text)))
    assert is_clean(str(NotModelled(origin=origin, text=text, why=text)))
    assert is_clean(str(LintFinding(origin=origin, rule="a", text=text, advice=text)))
    assert is_clean(str(pool), lines=2)


@hostile
def test_the_text_of_an_error_is_one_line(text):
    """What a server or a driver says is escaped in errors that quote it, and is cut to 200 characters."""
    assert is_clean(brief_error(OSError(text)))
    assert len(brief_error(OSError(text * 500))) == 200
