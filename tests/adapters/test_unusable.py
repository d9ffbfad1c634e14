"""Endpoints that no client can use, beside good ones: passed by, counted, named, and never the caller's trouble."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import httpx
import httpx2
import pytest

from balancekit import ConfigurationError, Endpoint, First, LoadBalancer, Outcome
from balancekit.adapters import httpx as for_httpx
from balancekit.adapters import httpx2 as for_httpx2
from balancekit.events import Event, Retried
from balancekit.retry import RetryBudget

from ._clients import KINDS, make, play
from ._server import Server

every_client = pytest.mark.parametrize("kind", KINDS)
PRIORITY = "unusable"
"""Picked first by ``First``, for it is first in the pool."""
TARGETS: dict[str, Any] = {
    "a port too large": "10.0.0.9:99999",
    "a port that is none": "10.0.0.9:http",
    "a space": "10.0.0.9 :80",
    "a password": "http://user:pass@10.0.0.9:80",
    "a label of 70 letters": "a" * 70 + ".example:80",
    "a name of 300 letters": ".".join(["a" * 59] * 5) + ":80",
    "an empty label": "a..example:80",
    "a number above 255": "10.0.0.256:80",
    "a number in octal digits": "http://010.0.0.9:80",
    "another scheme": "ftp://10.0.0.9",
    "no text": 7,
    "nothing": None,
}
NO_RETRIES = RetryBudget(ratio=0.0, reserve=0.0)


@pytest.fixture
def servers() -> Iterator[list[Server]]:
    """Two servers that are well."""
    with ExitStack() as stack:
        yield [stack.enter_context(Server(name)) for name in ("a", "b")]


@every_client
@pytest.mark.parametrize("name", TARGETS)
def test_an_unusable_endpoint_costs_no_request(kind: str, name: str, servers: list[Server]) -> None:
    """An endpoint without an address that joins later is passed by at no attempt and no budget, whatever the method."""
    events: list[Event] = []
    lb = LoadBalancer[Any](
        [Endpoint(server.name, server.address, priority=1) for server in servers],
        selector=First(),
        listeners=[events.append],
    )

    async def scenario(client: Any) -> None:
        lb.update([Endpoint(PRIORITY, TARGETS[name]), *lb.endpoints])
        for method in ("GET", "POST", "DELETE"):
            answer = await client.request(method, "http://orders/ok", body=b"x" if method == "POST" else None)
            assert answer.status == 200

    play(kind, lb, scenario, attempts=1, budget=NO_RETRIES)
    stats = lb.stats()
    assert stats[PRIORITY].outcomes[Outcome.CONNECT_FAILED] > 0
    assert stats.outcomes[Outcome.IGNORED] == 0
    assert stats.outcomes[Outcome.SUCCESS] == 3
    passed_by = [event for event in events if isinstance(event, Retried)]
    assert {(event.endpoint, event.reason) for event in passed_by} == {(PRIORITY, "unusable")}


@every_client
def test_an_unusable_endpoint_alone_is_the_clients_own_connect_error(
    kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    """With nothing else to pick, the client's own error names the endpoint and the reason; the log has one line of it."""
    lb = LoadBalancer[Any](["127.0.0.1:1"])

    async def scenario(client: Any) -> None:
        lb.update([Endpoint(PRIORITY, "10.0.0.9:99999")])
        for _ in range(3):
            with pytest.raises(client.refused, match=r"'unusable' cannot be used: .*10\.0\.0\.9:99999"):
                await client.get("http://orders/ok")

    with caplog.at_level(logging.INFO, "balancekit"):
        play(kind, lb, scenario)
    lines = [line for line in caplog.messages if "cannot be used" in line]
    assert len(lines) == 1
    assert lines[0].startswith(
        "endpoint 'unusable' cannot be used: ConfigurationError: target='10.0.0.9:99999' is not"
    )
    assert lb.stats().outcomes[Outcome.CONNECT_FAILED] == 3


@every_client
def test_a_client_is_made_over_a_pool_with_some_unusable_endpoints(kind: str, servers: list[Server]) -> None:
    """A client refuses a pool without a usable endpoint at construction; one bad endpoint of three is logged only."""
    lb = LoadBalancer[Any](["10.0.0.9:99999", *[server.address for server in servers]], selector=First())

    async def scenario(client: Any) -> None:
        assert (await client.get("http://orders/ok")).status == 200
        with pytest.raises(ConfigurationError, match="99999"):
            make(kind, LoadBalancer(["10.0.0.9:99999", "a b"]))

    play(kind, lb, scenario)


@pytest.mark.parametrize("kind", ["requests", "aiohttp"])
def test_a_socket_is_unusable_for_clients_that_know_none(kind: str, servers: list[Server]) -> None:
    """A Unix socket that joins a pool of addresses is passed by."""
    lb = LoadBalancer[Any]([servers[0].address], selector=First())

    async def scenario(client: Any) -> None:
        lb.update(["unix:/run/x.sock", servers[0].address])
        assert (await client.get("http://orders/ok")).status == 200

    play(kind, lb, scenario)
    assert lb.stats()["unix:/run/x.sock"].outcomes[Outcome.CONNECT_FAILED] == 1


@pytest.mark.parametrize(("module", "adapter"), [(httpx2, for_httpx2), (httpx, for_httpx)])
@pytest.mark.parametrize("failure", [OSError("no such certificate"), ValueError("bad settings"), None])
def test_an_endpoint_whose_transport_cannot_be_made_is_unusable(
    module: Any, adapter: Any, failure: Exception | None
) -> None:
    """A factory that raises or makes no transport for one endpoint: any request goes elsewhere, the endpoint is counted."""
    lb = LoadBalancer(["bad:80", "good:80"], selector=First())

    def factory(endpoint: Endpoint[Any]) -> Any:
        if endpoint.id == "good:80":
            return module.MockTransport(lambda _: module.Response(200))
        if failure is None:
            return None
        raise failure

    transport = adapter.BalancedTransport(lb, transport_factory=factory, attempts=1, budget=NO_RETRIES)
    with module.Client(transport=transport) as client:
        assert client.post("http://orders/", content=iter([b"x"])).status_code == 200
        lb.remove("good:80")
        with pytest.raises(module.ConnectError, match="'bad:80' cannot be used") as caught:
            client.get("http://orders/")
    assert caught.value.__cause__ is not None
    assert lb.stats().inflight == 0
    assert lb.stats()["bad:80"].outcomes == {**dict.fromkeys(Outcome, 0), Outcome.CONNECT_FAILED: 2}


def test_many_unusable_endpoints_are_not_walked_through_by_each_request(servers: list[Server]) -> None:
    """A request passes by three endpoints for nothing; after that each counts as an attempt and takes from the budget."""
    lb = LoadBalancer[Any]([servers[0].address], selector=First())

    async def scenario(client: Any) -> None:
        bad = [Endpoint(f"bad-{n}", f"10.0.0.{n}:99999") for n in range(9)]
        lb.update([*bad, Endpoint("z", servers[0].address)])
        with pytest.raises(client.refused, match="'bad-4' cannot be used"):
            await client.get("http://orders/ok")

    play("httpx2", lb, scenario)
