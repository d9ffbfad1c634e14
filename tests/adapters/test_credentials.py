"""Credentials of one origin at another: a server that redirects everywhere it can, through every client."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from balancekit import Endpoint, LoadBalancer
from balancekit.adapters import HttpTarget

from ._clients import KINDS, play
from ._server import Server

STATUSES = (301, 302, 303, 307, 308)
OWN, CALLERS, COOKIE = "key-of-the-endpoint", "Bearer key-of-the-caller", "pin"


@pytest.fixture(scope="module")
def servers() -> Iterator[tuple[Server, Server]]:
    """Run the server that redirects, and the one that it redirects to."""
    with ExitStack() as stack:
        yield stack.enter_context(Server("a")), stack.enter_context(Server("b"))


@pytest.mark.parametrize("cookies", ["service", "per-endpoint"])
@pytest.mark.parametrize("kind", KINDS)
def test_no_credential_of_an_origin_is_seen_at_another(
    kind: str, cookies: str, servers: tuple[Server, Server]
) -> None:
    """No header, ``Authorization`` or cookie of an origin is sent to another.

    This holds for ten redirects to another origin, host and port.
    """
    own, other = servers
    other.seen.clear()
    own.seen.clear()
    lb = LoadBalancer([Endpoint("a", HttpTarget(own.address, headers={"api-key": OWN}))])

    async def scenario(client: Any) -> None:
        await client.get("http://orders/cookie")
        for status in STATUSES:
            for method, body in (("GET", None), ("POST", b"x")):
                url = f"http://orders/header?code={status}&Location=http://{other.address}/ok"
                await client.request(method, url, headers={"Authorization": CALLERS}, body=body)

    play(kind, lb, scenario, service="orders", cookies=cookies)
    found = [
        f"{one.method} {name}: {value}"
        for one in other.seen
        for name, value in one.headers.items()
        if name in {"api-key", "authorization", "cookie", "proxy-authorization"}
    ]
    print(f"{kind}, cookies {cookies}: {len(other.seen)} requests elsewhere, {len(found)} credentials")
    assert len(other.seen) == 2 * len(STATUSES)
    assert {one.headers["api-key"] for one in own.seen} == {OWN}
    assert {one.headers["authorization"] for one in own.seen[1:]} == {CALLERS}
    assert found == []


@pytest.mark.parametrize("authority", ["auto", "logical"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_password_in_the_url_is_in_no_header_but_authorization(
    kind: str, authority: str, servers: tuple[Server, Server]
) -> None:
    """``Host`` and a rewritten ``Location`` have neither user nor password, nor the port that the scheme means anyway."""
    own, _ = servers
    own.seen.clear()
    lb = LoadBalancer([own.address])
    back = f"http://{own.address}/ok"

    async def scenario(client: Any) -> None:
        answer = await client.get(f"http://user:s3cret@orders:80/header?code=201&Location={back}")
        assert answer.headers["location"] == "http://orders/ok"

    play(kind, lb, scenario, authority=authority, rewrite_location=True)
    (seen,) = own.seen
    assert seen.headers.pop("authorization") == "Basic dXNlcjpzM2NyZXQ="
    assert seen.headers["host"] == "orders"
    assert "s3cret" not in str(seen)
