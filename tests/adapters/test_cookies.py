"""Cookies belong to the service, or to each endpoint: none is shown another's."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from balancekit import ConfigurationError, Endpoint, First, LoadBalancer, RoundRobin
from balancekit.adapters import HttpTarget
from balancekit.adapters._cookies import MAX_COOKIE_HOSTS, MAX_COOKIES, Jars
from balancekit.adapters._target import address_of
from balancekit.adapters.httpx2 import BalancedTransport

from ._clients import KINDS, play
from ._server import Server

every_client = pytest.mark.parametrize("kind", KINDS)
HOST = {"Host": "orders"}


@pytest.fixture
def servers() -> Iterator[list[Server]]:
    """Two that set cookies by the same name."""
    with ExitStack() as stack:
        yield [stack.enter_context(Server(name)) for name in ("a", "b")]


def turns(servers: list[Server]) -> LoadBalancer[Any]:
    """One after the other."""
    return LoadBalancer([server.address for server in servers], selector=RoundRobin())


def sent(server: Server) -> list[set[str]]:
    """Return the cookies of each request that a server has seen."""
    return [set(filter(None, seen.headers.get("cookie", "").split("; "))) for seen in server.seen]


@every_client
def test_an_endpoint_gets_its_own_cookies_only(kind: str, servers: list[Server]) -> None:
    """A cookie that an endpoint sets is sent to that endpoint only, and the client's own jar stays empty."""

    async def scenario(client: Any) -> None:
        for _ in range(6):
            answer = await client.get("http://orders/cookie")
            assert "set-cookie" not in answer.headers

    play(kind, turns(servers), scenario, cookies="per-endpoint")
    for server in servers:
        assert sent(server) == [set()] + 2 * [{f"pin={server.name}", "seen=1"}]


@every_client
def test_what_the_caller_sends_goes_to_all(kind: str, servers: list[Server]) -> None:
    """Cookies that the caller sends go to all endpoints.

    An endpoint's own cookie of the same name replaces the caller's.
    """

    async def scenario(client: Any) -> None:
        for _ in range(4):
            await client.get("http://orders/cookie", headers={"Cookie": "user=17; pin=old"})

    play(kind, turns(servers), scenario, cookies="per-endpoint")
    for server in servers:
        assert sent(server) == [{"user=17", "pin=old"}, {"user=17", f"pin={server.name}", "seen=1"}]


@every_client
def test_a_retry_carries_the_cookies_of_its_own_endpoint(kind: str, servers: list[Server]) -> None:
    """A retry carries the cookies of its own endpoint, and a discarded answer has set its cookies all the same."""
    lb = LoadBalancer([server.address for server in servers], selector=First())

    async def scenario(client: Any) -> None:
        servers[0].script.append("/cookie?code=503&retry_after=0")
        assert (await client.get("http://orders/ok")).text == "b"
        assert (await client.get("http://orders/ok")).text == "a"

    play(kind, lb, scenario, cookies="per-endpoint")
    assert sent(servers[0]) == [set(), {"pin=a", "seen=1"}]
    assert sent(servers[1]) == [set()]


@every_client
def test_domains_and_paths_are_heeded(kind: str, servers: list[Server]) -> None:
    """Domains and paths of cookies count: a cookie for another domain is refused, and one for a path stays there."""
    lb = turns(servers[:1])

    async def scenario(client: Any) -> None:
        await client.get("http://orders/cookie?more=Domain=elsewhere.example")
        await client.get("http://orders/cookie?more=Path=/deep")
        await client.get("http://orders/deep/ok")
        await client.get("http://orders/ok")

    play(kind, lb, scenario, cookies="per-endpoint")
    assert sent(servers[0]) == [set(), {"seen=1"}, {"seen=1", "pin=a"}, {"seen=1"}]


@every_client
def test_the_authority_asked_for_is_the_cookies_domain(kind: str, servers: list[Server]) -> None:
    """The domain of a cookie is the authority that was asked for. An endpoint's prefix is part of the path."""
    target = HttpTarget(url=f"http://{servers[0].address}/v1", authority="api.vendor.example")
    lb = LoadBalancer([Endpoint("one", target)])

    async def scenario(client: Any) -> None:
        await client.get("http://orders/cookie?more=Domain=vendor.example; Path=/v1")
        await client.get("http://orders/ok")

    play(kind, lb, scenario, cookies="per-endpoint")
    assert sent(servers[0]) == [set(), {"seen=1", "pin=a"}]


def test_cookies_leave_with_their_endpoint() -> None:
    """When an endpoint has left, its cookies are dropped."""
    jars, where = Jars(), address_of("10.0.0.1:80")
    jars.keep(where, "http://10.0.0.1:80/", HOST, ["pin=a"])
    headers = dict(HOST)
    jars.carry(where, "http://10.0.0.1:80/", headers)
    assert headers["Cookie"] == "pin=a"
    del where
    gc.collect()
    assert not len(jars._jars)


def test_a_secure_cookie_is_for_https() -> None:
    """A secure cookie is sent over HTTPS only, by the scheme of the attempt."""
    jars, where = Jars(), address_of("10.0.0.1:80")
    jars.keep(where, "https://10.0.0.1/", HOST, ["pin=a; Secure"])
    for scheme, expected in (("http", None), ("https", "pin=a")):
        headers = dict(HOST)
        jars.carry(where, f"{scheme}://10.0.0.1/", headers)
        assert headers.get("Cookie") == expected


@pytest.mark.parametrize("wrong", ["endpoint", "", None, True])
def test_whose_cookies_must_be_known(wrong: Any) -> None:
    """Only the two documented words are allowed for the owner of cookies."""
    with pytest.raises(ConfigurationError, match=r"cookies=.*service, per-endpoint"):
        BalancedTransport(LoadBalancer(["a:1"]), cookies=wrong)


def test_what_a_jar_keeps_is_bounded() -> None:
    """A jar is bounded: the oldest cookies of hosts, paths and names go first, and the latest are sent."""
    jars, where = Jars(), address_of("10.0.0.1:80")

    def told(host: str, line: str) -> str:
        headers = {"Host": host}
        url = f"http://10.0.0.1:80{line.rpartition('Path=')[2]}"
        jars.keep(where, url, headers, [line])
        jars.carry(where, url, headers)
        return headers["Cookie"]

    for n in range(MAX_COOKIE_HOSTS + 500):
        assert told(f"host-{n}.example", "a=b; Path=/") == "a=b"
    for n in range(MAX_COOKIES + 50):
        assert f"n{n}=b" in told("one.example", f"n{n}=b; Path=/")
        assert told("two.example", f"a=b; Path=/p{n}/x") == "a=b"
    (jar,) = jars._jars.values()
    assert len(jar._cookies) == MAX_COOKIE_HOSTS
    assert len(jar._cookies["one.example"]["/"]) == MAX_COOKIES
    assert len(jar._cookies["two.example"]) == MAX_COOKIES
