"""Names of hosts in every spelling, and headers of answers that cannot be read."""

from __future__ import annotations

import gc
import random
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any
from urllib.parse import quote

import aiohttp
import httpx2
import pytest

from balancekit import ConfigurationError, Endpoint, First, LoadBalancer, Outcome
from balancekit._support.text import ascii_host
from balancekit.adapters import HttpTarget
from balancekit.adapters import httpx2 as for_httpx2
from balancekit.adapters._config import AdapterConfig
from balancekit.adapters._retry_after import retry_after
from balancekit.adapters._target import address_of
from balancekit.adapters._transports import MAX_TLS_NAMES

from ._clients import KINDS, play
from ._server import Server

every_client = pytest.mark.parametrize("kind", KINDS)
SPELLINGS = [
    "bücher.invalid",
    "xn--bcher-kva.invalid",
    "BÜCHER.invalid",
    "XN--BCHER-KVA.invalid",
    "bücher.invalid.",
]
UNREADABLE = [
    "",
    "http://[half/x",
    "http://[::1",
    "//[",
    "http://a:99999999/",
    "http://a:b/",
    "ht!tp://x",
    "http://orders:0/",
]


@pytest.fixture
def server() -> Iterator[Server]:
    """One server that is well."""
    with Server("a") as one:
        yield one


@every_client
@pytest.mark.parametrize("service", SPELLINGS)
def test_a_service_is_the_same_in_every_spelling(kind: str, service: str, server: Server) -> None:
    """A URL reaches the service whichever of A-labels, U-labels, case and the dot of the root either is written with."""
    lb = LoadBalancer([server.address])

    async def scenario(client: Any) -> None:
        for host in SPELLINGS:
            assert (await client.get(f"http://{host}/ok")).status == 200

    play(kind, lb, scenario, service=service)
    assert lb.stats().outcomes[Outcome.SUCCESS] == len(SPELLINGS)


@every_client
@pytest.mark.parametrize("location", UNREADABLE)
def test_a_location_that_cannot_be_read_is_handed_over(kind: str, location: str, server: Server) -> None:
    """With ``rewrite_location`` an answer whose ``Location`` is no URL arrives as it is, and its lease ends."""
    lb = LoadBalancer([server.address])

    async def scenario(client: Any) -> None:
        answer = await client.get(f"http://orders/header?code=201&Location={quote(location, safe='')}")
        assert (answer.status, answer.headers.get("location", "")) == (201, location)

    play(kind, lb, scenario, rewrite_location=True)
    assert lb.stats().outcomes[Outcome.SUCCESS] == 1


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("orders", "orders"),
        ("Orders.", "orders"),
        ("_http._tcp.orders", "_http._tcp.orders"),
        ("bücher.test", "xn--bcher-kva.test"),
        ("bu\u0308cher.test", "xn--bcher-kva.test"),
        ("faß.test", "xn--fa-hia.test"),
        ("10.0.0.1", "10.0.0.1"),
        ("::1", "::1"),
        ("0:0::1", "::1"),
        ("FE80::A", "fe80::a"),
        ("fe80::1%eth0", "fe80::1%eth0"),
        ("FE80::1%enP1s0", "fe80::1%enP1s0"),
        ("fe80::1%25eth0", "fe80::1%eth0"),
        ("fe80::1%25", "fe80::1%25"),
        ("fe80::1%251", "fe80::1%251"),
        ("10.0.0.256", None),
        ("10.0.0.01", None),
        ("1.2.3", "1.2.3"),
        ("web.1", "web.1"),
        ("a" * 63, "a" * 63),
        ("a" * 64, None),
        (".".join(["a" * 62] * 4), ".".join(["a" * 62] * 4)),
        (".".join(["a" * 63] * 4), None),
        ("", None),
        (".", None),
        ("a..b", None),
        ("a b", None),
        ("a/b", None),
        ("\uff48ost", None),
        ("\udcff", None),
        ("☃", None),
        ("1::2::3", None),
    ],
)
def test_a_host_has_one_spelling(name: str, found: str | None) -> None:
    """A host is spelled in A-labels by IDNA 2008, in lower case, without the dot of the root; an address in its short form.

    A host that resolvers refuse has no spelling.
    """
    assert ascii_host(name) == found


@pytest.mark.parametrize(
    ("url", "netloc", "authority"),
    [
        ("bücher.test:8080", "xn--bcher-kva.test:8080", "xn--bcher-kva.test:8080"),
        ("http://Bücher.test/v1", "xn--bcher-kva.test", "xn--bcher-kva.test"),
        ("orders.svc.:80", "orders.svc.:80", "orders.svc:80"),
        ("[::1]:80", "[::1]:80", None),
        ("[fe80::1%25Eth0]:80", "[fe80::1%Eth0]:80", None),
    ],
)
def test_an_address_is_connected_to_and_asked_for_in_ascii(
    url: str, netloc: str, authority: str | None
) -> None:
    """A name keeps its dot of the root where it is resolved; ``Host`` and the certificate have none."""
    address = address_of(url)
    assert (address.netloc, address.authority) == (netloc, authority)
    assert address.server_name == (authority and authority.partition(":")[0])


def loopback_6() -> int:
    """Return the number of the loopback interface, on systems that know zones of IPv6."""
    try:
        number = socket.if_nametoindex("lo")
        socket.getaddrinfo(f"::1%{number}", 80, flags=socket.AI_NUMERICHOST)
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            return number
    except (OSError, AttributeError):
        pytest.skip("there is no IPv6 with zones here")


@every_client
@pytest.mark.parametrize("url", ["[::1%{zone}]:{port}", "http://[0:0::1%{zone}]:{port}"])
@pytest.mark.parametrize("authority", ["auto", "endpoint"])
def test_an_address_with_a_zone_is_reached_and_named_without_it(kind: str, url: str, authority: str) -> None:
    """Every client connects to an address with a zone, which is known on this machine only: ``Host`` has none."""
    zone, heads = loopback_6(), []
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as listening:
        port = listening.getsockname()[1]

        def serve() -> None:
            connection, _ = listening.accept()
            with connection:
                heads.append(connection.recv(65536).decode().lower())
                connection.sendall(b"HTTP/1.1 200 X\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")

        thread = threading.Thread(target=serve)
        thread.start()
        lb = LoadBalancer([url.format(zone=zone, port=port)])

        async def scenario(client: Any) -> None:
            assert (await client.get("http://orders/ok")).text == "ok"

        with ExitStack() as stack:
            stack.callback(thread.join)
            play(kind, lb, scenario, authority=authority)
    expected = "orders" if authority == "auto" else f"[::1]:{port}"
    assert f"\r\nhost: {expected}\r\n" in heads[0]


@pytest.mark.parametrize(
    "wrong",
    [
        *(
            {"url": url}
            for url in (
                "\uff48:80",
                "h:\uff18\uff10",
                "h:80/../../x",
                "h:80/a/%2E%2e/b",
                "h/%2e%2e%2fx",
                "h/a%2F..",
                "h/%2e%5c%2e%2e",
                "h/ü",
                "h/%zz",
                "10.0.0.256:80",
                "http://10.0.0.010/",
            )
        ),
        *(
            {"url": url}
            for url in (
                "h/a\\b",
                "a_" * 40,
                "h:80/.",
                "unix:/a\0b",
                "h:80\udcff",
                "//h:80",
                "[v1.a]:80",
                "[vF.orders]",
            )
        ),
        *({"url": "a:1", "headers": {name: "5"}} for name in ("Content-Length", "transfer-encoding")),
        *(
            {"url": "a:1", "authority": name}
            for name in ("bücher.test", "a/b", "u@a", "a:0", "a:x", "[half", "[v1.a]")
        ),
        *({"url": "a:1", "server_name": name} for name in ("bücher.test", "a,b")),
    ],
    ids=repr,
)
def test_an_address_that_leads_elsewhere_is_refused(wrong: dict[str, Any]) -> None:
    """Letters that only look like ASCII, dot segments and what is not percent-encoded are refused by name."""
    with pytest.raises(ConfigurationError, match=r"is not allowed: expected"):
        HttpTarget(**wrong)


@pytest.mark.parametrize(
    "service",
    ["", "a b", "a/b", "a:0", "a:99999", "a#f", "u@a", "\uff48", "a" * 64, ".", "[half", "[v1.a]:80"],
)
def test_a_service_that_no_url_names_is_refused(service: str) -> None:
    """The error names the parameter."""
    with pytest.raises(ConfigurationError, match="service="):
        AdapterConfig(LoadBalancer(["a:1"]), service=service)


@pytest.mark.parametrize("zone", ["UTC", "America/New_York", "Asia/Tokyo"])
def test_a_date_without_a_zone_is_in_utc(zone: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The asctime form of an HTTP date has no zone and means UTC, whatever the zone of the machine."""
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    try:
        assert retry_after({"Retry-After": "Thu Jan  1 00:01:00 1970"}, wall=15.0) == 45.0
    finally:
        monkeypatch.undo()
        time.tzset()


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("60, 60", 60.0),
        ("60,120", 60.0),
        ("Thu, 01 Jan 1970 00:01:00 GMT, Thu, 01 Jan 1970 00:09:00 GMT", 45.0),
        ("Thu, 01 Jan 1970 00:00:60 GMT", 44.0),
        ("Thursday, 01-Jan-70 00:00:60 GMT", 44.0),
        ("Thu Jan  1 00:00:60 1970", 44.0),
        (",60", None),
        ("", None),
    ],
)
def test_retry_after_of_two_headers_or_with_a_leap_second_is_read(value: str, seconds: float | None) -> None:
    """Of two headers that a client joined the first counts, as with clients that show only that; a leap second is a second."""
    assert retry_after({"Retry-After": value}, wall=15.0) == seconds


def test_a_wait_in_milliseconds_that_stands_twice_is_read_once() -> None:
    """The first of two values counts."""
    assert retry_after({"retry-after-ms": "250, 500"}, wall=0.0) == 0.25


HEADERS = [
    ("Retry-After", 503),
    ("Retry-After", 429),
    ("retry-after-ms", 429),
    ("x-ratelimit-reset-requests", 200),
    ("Set-Cookie", 200),
    ("Location", 302),
    ("Location", 201),
]
KNOWN = [
    *[
        "",
        " ",
        "-1",
        "nan",
        "inf",
        "1e999",
        "1_000",
        "\u0663",
        "\uff11\uff12",
        ",",
        ",,,",
        "Wed,",
        "0 0 0 0",
        "=",
        ";",
    ],
    *["Thu, 32 Jan 2026 00:00:00 GMT", "Thu, 01 Jan 0000 00:00:00 GMT", "Thu, 01 Jan 10000 00:00:00 GMT"],
    *[
        "Thu, 01 Jan 2026 25:61:61 GMT",
        "Thu, 01 Jan 2026 00:00:00 +9999",
        "Thu, 01 Jan 2026 00:00:00 +99999999999",
    ],
    *[
        "9" * 5000,
        "9" * 400,
        "1h1m1s1ms",
        "1m" * 1000,
        "1 2 3 4 5 6 7",
        "a=b; expires=x; domain=[",
        *UNREADABLE,
    ],
    *["a=b; Max-Age=" + "9" * 5000, "a=b; expires=Thu, 99-Jan-99999", "http://\x7f/", "\x80\xff"],
]


@pytest.mark.parametrize(
    "options", [{}, {"cookies": "per-endpoint", "rewrite_location": True}], ids=["plain", "all"]
)
def test_headers_that_no_parser_likes_cost_no_answer(options: dict[str, Any]) -> None:
    """Whatever stands in the headers that adapters read, the caller gets the answer and no lease stays open."""
    rng = random.Random(5)
    letters = "0123456789 ,:-+.GMTJanhms=;[]/@%e"
    values = KNOWN + ["".join(rng.choices(letters, k=rng.randrange(1, 30))) for _ in range(300)]
    told: dict[str, Any] = {}

    def answer(_: httpx2.Request) -> httpx2.Response:
        pair = (told["name"].encode(), told["value"].encode("utf-8"))
        return httpx2.Response(told["status"], headers=[pair], text="x")

    target = HttpTarget("http://127.0.0.1:1", headers={"X-Key": "k"})
    lb = LoadBalancer([Endpoint("a", target), Endpoint("b", target)], selector=First(), health=None)
    inner = httpx2.MockTransport(answer)
    transport = for_httpx2.BalancedTransport(
        lb, transport_factory=lambda _: inner, max_retry_after=0.0, attempts=1, **options
    )
    for name, status in HEADERS:
        for value in values:
            told.update(name=name, status=status, value=value)
            response = transport.handle_request(httpx2.Request("POST", "http://orders/"))
            assert response.status_code == status
            response.close()
    assert lb.stats().inflight == 0
    assert lb.stats().completed == len(HEADERS) * len(values)


def test_what_a_pool_of_transports_remembers_is_bounded_by_the_pool() -> None:
    """After 2,000 ids that never come back, an adapter remembers one route, and no id of an endpoint that left."""
    inner = httpx2.MockTransport(
        lambda request: httpx2.Response(401 if "Authorization" in request.headers else 200)
    )
    lb: LoadBalancer[Any] = LoadBalancer(["10.0.0.1:80"])
    transport = for_httpx2.BalancedTransport(lb, transport_factory=lambda _: inner)
    with httpx2.Client(transport=transport) as client:
        for n in range(2000):
            target = HttpTarget("http://10.0.0.1:80", headers={"Authorization": "Bearer x"})
            lb.update([Endpoint(f"pod-{n}", target)])
            if not n % 10:
                client.get("http://orders/")
        client.get("http://orders/")
        gc.collect()
        pool, config = transport._pool, transport._config
        assert len(pool._routes) == 1
        assert len(pool._leaving) <= 1
        assert pool._present == {"pod-1999"}
        assert len(config.refused_keys) <= 2


def test_what_a_route_remembers_of_tls_names_is_bounded() -> None:
    """An adapter for all hosts keeps connections for 64 of the names that callers use, and closes those of the oldest."""
    closed = 0

    class Inner(httpx2.BaseTransport):
        def handle_request(self, request: httpx2.Request) -> httpx2.Response:
            return httpx2.Response(200)

        def close(self) -> None:
            nonlocal closed
            closed += 1

    names = 300
    transport = for_httpx2.BalancedTransport(
        LoadBalancer(["10.0.0.1:443"]), transport_factory=lambda _: Inner()
    )
    with httpx2.Client(transport=transport) as client:
        for n in range(names):
            client.get(f"https://tenant-{n}.example/")
        client.get(f"https://tenant-{names - 1}.example/")
        (route,) = transport._pool._routes.values()
        assert list(route.transports) == [f"tenant-{n}.example" for n in range(names - MAX_TLS_NAMES, names)]
        assert closed == names - MAX_TLS_NAMES
        assert not transport._pool._leaving
    assert closed == names


@every_client
def test_a_location_that_is_no_utf_8_leaves_no_lease_open(kind: str) -> None:
    """The caller gets the answer or an error of the client, and the lease ends even while that error is kept."""
    with Server("") as server:  # its answers have no body
        lb = LoadBalancer([server.address])
        kept: list[Exception] = []

        async def scenario(client: Any) -> None:
            try:
                opened = await client.open("http://orders/header?code=302&Location=http://127.0.0.1:1/%C3%A9")
                await opened.close()
            except Exception as error:
                kept.append(error)
            assert lb.stats().inflight == 0

        play(kind, lb, scenario)
    assert lb.stats().completed


@pytest.mark.parametrize("path", ["status?code=204", "status?code=304", "ok"])
@pytest.mark.parametrize("kind", KINDS)
def test_an_answer_without_a_body_ends_its_lease_unread(kind: str, path: str) -> None:
    """A response of 204, of 304 or of length 0 need not be read or closed, even if it is streamed, and is a success."""
    with Server("") as server:
        lb = LoadBalancer([server.address])

        async def scenario(client: Any) -> None:
            opened = await client.open(f"http://orders/{path}")
            assert lb.stats().inflight == 0
            await opened.close()
            opened = await client.open("http://orders/drip?gap=0.1")
            assert lb.stats().inflight == 1
            await opened.close()

        play(kind, lb, scenario)
    assert (lb.stats().outcomes[Outcome.SUCCESS], lb.stats().outcomes[Outcome.CANCELLED]) == (1, 1)


@pytest.mark.parametrize("kind", ["httpx", "httpx2", "requests"])
def test_an_answer_to_head_ends_its_lease_unread(kind: str) -> None:
    """A response to HEAD need not be read or closed, whatever length it names, and is a success."""
    with Server("a") as server:
        lb = LoadBalancer([server.address])

        async def scenario(client: Any) -> None:
            if kind == "requests":
                kept = client.session.head("http://orders/ok", stream=True)
            else:
                kept = client.client.send(
                    client.client.build_request("HEAD", "http://orders/ok"), stream=True
                )
            assert lb.stats().inflight == 0
            kept.close()

        play(kind, lb, scenario)
    assert lb.stats().outcomes[Outcome.SUCCESS] == 1


@pytest.mark.parametrize(
    ("accepted", "outcome"),
    [("gzip, br;q=0.5", Outcome.IGNORED), ("*", Outcome.IGNORED), (None, Outcome.FAILURE)],
)
def test_an_encoding_that_aiohttp_cannot_decode_is_the_callers_if_it_was_asked_for(
    accepted: str | None, outcome: Outcome, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the package for Brotli, a caller that accepts it blames no endpoint; one that sends it unasked is blamed."""
    monkeypatch.setattr(aiohttp.http_parser, "HAS_BROTLI", False)
    headers = {"Accept-Encoding": "gzip" if accepted is None else accepted}
    with Server("a") as server:
        lb = LoadBalancer([server.address])

        async def scenario(client: Any) -> None:
            with pytest.raises(aiohttp.ClientResponseError, match="install"):
                await client.get("http://orders/header?Content-Encoding=br", headers=headers)

        play("aiohttp", lb, scenario)
    assert {one: n for one, n in lb.stats().outcomes.items() if n} == {outcome: 1}


@every_client
@pytest.mark.parametrize("written", ["orders", "orders:80", "orders.", "ORDERS.:80", "u:p@orders"])
def test_an_endpoint_with_a_name_is_asked_for_that_however_the_service_is_written(
    kind: str, written: str, server: Server
) -> None:
    """A port, a root dot or a user in the URL keeps no endpoint from being asked for its own name."""
    lb = LoadBalancer([Endpoint("a", HttpTarget(url=server.address, authority="vendor.example"))])

    async def scenario(client: Any) -> None:
        assert (await client.get(f"http://{written}/ok")).text == server.name

    play(kind, lb, scenario, service="orders")
    assert server.seen[-1].headers["host"] == "vendor.example"
