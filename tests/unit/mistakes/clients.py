"""Mistakes with HTTP clients and the options of requests."""

from __future__ import annotations

import asyncio
import copy
import pickle

import httpx
import httpx2
import requests
from tests.unit.mistakes._row import Row

from balancekit import LoadBalancer
from balancekit.adapters import request_options
from balancekit.adapters.httpx import AsyncBalancedTransport, BalancedTransport
from balancekit.adapters.requests import BalancedAdapter
from balancekit.adapters.routed_requests import RoutedAdapter
from balancekit.l7 import Route, RouteTable

A = ["127.0.0.1:1", "127.0.0.1:2"]
CONFIGURATION, TYPE, ATTRIBUTE, CONNECT = "ConfigurationError", "TypeError", "AttributeError", "ConnectError"
AT = r"balancekit: attempt \d, at endpoint "


def lb(targets: object = A) -> LoadBalancer[object]:
    """Return a balancer."""
    return LoadBalancer(targets)


def get(url: str, targets: object = A, **options: object):
    """Get a URL by a balanced client of httpx."""
    with httpx.Client(transport=BalancedTransport(LoadBalancer(targets), **options)) as client:
        return client.get(url).status_code


def sync_in_async():
    async def main():
        async with httpx.AsyncClient(transport=BalancedTransport(lb())) as client:
            await client.get("http://x/")

    asyncio.run(main())


def sync_in_async_without_with():
    async def main():
        await httpx.AsyncClient(transport=BalancedTransport(lb())).get("http://x/")

    asyncio.run(main())


def async_in_sync():
    with httpx.Client(transport=AsyncBalancedTransport(lb())) as client:
        client.get("http://x/")


def httpx_in_httpx2():
    with httpx2.Client(transport=BalancedTransport(lb())) as client:
        client.get("http://x/")


def httpx2_in_httpx():
    from balancekit.adapters import httpx2 as adapter

    with httpx.Client(transport=adapter.BalancedTransport(lb())) as client:
        client.get("http://x/")


def other_host():
    def fail(request):
        raise httpx.ConnectError("Name or service not known", request=request)

    return get("http://order-s/", service="orders", fallback=httpx.MockTransport(fail))


def client_closed():
    client = httpx.Client(transport=BalancedTransport(lb()))
    client.close()
    client.get("http://o/")


def transport_reused():
    transport = BalancedTransport(lb())
    with httpx.Client(transport=transport):
        pass
    with httpx.Client(transport=transport) as client:
        client.get("http://o/")


def mounted(adapter: requests.adapters.BaseAdapter) -> requests.Session:
    """Return a session with an adapter."""
    session = requests.Session()
    session.mount("http://orders/", adapter)
    return session


def mounted_without_scheme():
    session = requests.Session()
    session.mount("orders", BalancedAdapter(lb()))
    return session.get_adapter("http://orders/x")


def options(**given: object):
    """Enter a block of request options."""
    with request_options(**given) as found:
        return found


ROWS = [
    Row(
        "a sync transport in an async client",
        sync_in_async,
        ATTRIBUTE,
        r"httpx\.AsyncClient needs AsyncBalancedTransport",
    ),
    Row(
        "the same without async with", sync_in_async_without_with, ATTRIBUTE, r"needs AsyncBalancedTransport"
    ),
    Row(
        "an async transport in a sync client",
        async_in_sync,
        ATTRIBUTE,
        r"httpx\.Client needs BalancedTransport",
    ),
    Row("httpx in httpx2", httpx_in_httpx2, TYPE, r"import it from balancekit\.adapters\.httpx2$"),
    Row("httpx2 in httpx", httpx2_in_httpx, TYPE, r"import it from balancekit\.adapters\.httpx$"),
    Row("a list for a balancer", lambda: BalancedTransport(A), CONFIGURATION, r"expected a LoadBalancer"),
    Row("attempt=", lambda: BalancedTransport(lb(), attempt=3), TYPE, r"did you mean 'attempts'"),
    Row("no attempts", lambda: BalancedTransport(lb(), attempts=0), CONFIGURATION, r"whole number >= 1"),
    Row(
        "retries=",
        lambda: BalancedTransport(lb(), retries=3),
        TYPE,
        r"did you mean 'attempts'\? One more than retries",
    ),
    Row("timeout=", lambda: BalancedTransport(lb(), timeout=3), TYPE, r"set the client's own timeout"),
    Row(
        "a URL for a service",
        lambda: BalancedTransport(lb(), service="http://orders/"),
        CONFIGURATION,
        r"a host such as 'orders'",
    ),
    Row(
        "another host",
        other_host,
        CONNECT,
        r"'order-s' is not the service 'orders', so this request was not balanced",
    ),
    Row(
        "a relative URL",
        lambda: get("/items"),
        "UnsupportedProtocol",
        r"missing an 'http://' or 'https://' protocol",
    ),
    Row(
        "a target with a slash",
        lambda: get("http://o/x", ["http://127.0.0.1:1/"]),
        CONNECT,
        AT + r"'http://127",
    ),
    Row("a target without port", lambda: get("http://o/x", ["127.0.0.9"]), CONNECT, AT + r"'127\.0\.0\.9'"),
    Row(
        "IPv6 without brackets",
        lambda: get("http://o/x", ["::1:8080"]),
        CONFIGURATION,
        r"target='::1:8080'.*'host:port'",
    ),
    Row("IPv6", lambda: get("http://o/x", ["[::1]:1"]), CONNECT, AT + r"'\[::1\]:1'"),
    Row(
        "an object for a target",
        lambda: get("http://o/x", {"a": object()}),
        CONFIGURATION,
        r"or an HttpTarget",
    ),
    Row(
        "ftp",
        lambda: get("http://o/x", ["ftp://127.0.0.1:1"]),
        CONFIGURATION,
        r"'http\(s\)://host:port/prefix'",
    ),
    Row("the name of a port", lambda: get("http://o/x", ["127.0.0.1:http"]), CONFIGURATION, r"'host:port'"),
    Row("a closed client", client_closed, "RuntimeError", r"client has been closed"),
    Row("a transport used again", transport_reused, CONNECT, AT),
    Row("all endpoints are down", lambda: get("http://o/x"), CONNECT, AT),
    Row("a mount without scheme", mounted_without_scheme, "works", r"requests\.adapters\.HTTPAdapter"),
    Row(
        "pickle a session",
        lambda: pickle.dumps(mounted(BalancedAdapter(lb()))),
        TYPE,
        r"mount a new one on each session",
    ),
    Row(
        "copy a session of routes",
        lambda: copy.deepcopy(mounted(RoutedAdapter(RouteTable([Route("a", lb())])))),
        TYPE,
        r"mount a new one on each session",
    ),
    Row("max_retries=", lambda: BalancedAdapter(lb(), max_retries=3), TYPE, r"did you mean 'attempts'"),
    Row(
        "a key of no argument",
        lambda: BalancedTransport(lb(), key=lambda: "user"),
        CONFIGURATION,
        r"key=.*a function of the request; too many",
    ),
    Row(
        "a wait in milliseconds",
        lambda: BalancedTransport(lb(), wait_for_capacity=3000) and None,
        "UserWarning",
        r"write 3 for 3000 ms",
    ),
    Row("a timeout in milliseconds", lambda: options(timeout=2000), "UserWarning", r"write 2 for 2000 ms"),
    Row(
        "a tuple for a timeout",
        lambda: options(timeout=(1, 2)),
        CONFIGURATION,
        r"a finite number of seconds > 0",
    ),
    Row("timeout_s=", lambda: options(timeout_s=1), CONFIGURATION, r"did you mean 'timeout'"),
    Row(
        "options without with",
        lambda: request_options(timeout=1) and None,
        "UserWarning",
        r"write `with request_options",
    ),
]
