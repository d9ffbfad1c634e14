"""Errors of clients that name a URL with a password: nothing that the library logs or shows has the password."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import httpx2
import pytest

from balancekit import ConfigurationError, Endpoint, LoadBalancer, UnknownEndpointError
from balancekit.adapters.httpx2 import BalancedTransport
from balancekit.checks import ThreadScrapes
from balancekit.discovery import KubernetesResolver, Resolution, ThreadDiscovery
from balancekit.errors import brief, brief_error
from balancekit.reported import NodeAttributes
from balancekit.sharing import RedisStore

PASSWORD = "s3cr3t"
URL = f"http://app:{PASSWORD}@10.0.0.1:8080/metrics?token={PASSWORD}"
ERROR = OSError(f"500 Server Error for url: {URL}")
MAX_WAIT_S = 10.0


def fail(*_: Any, **__: Any) -> Any:
    """Raise what a client raises."""
    raise ERROR


class Failing:
    """A store, an API server and a source that push, none of which answers."""

    namespace = "shop"

    def resolve(self) -> list[str]:
        """Return one endpoint."""
        return ["a"]

    eval = list = watch = fail  # as the clients call them


def of_a_source(heard: list[object]) -> None:
    """Follow a source that fails."""
    told = threading.Event()

    def listen(change: object) -> None:
        heard.append(change)
        told.set()

    with ThreadDiscovery(LoadBalancer(["a"]), fail, listeners=[listen]) as discovery:
        assert told.wait(MAX_WAIT_S)
        heard.append(discovery.stats())


def of_a_watch(_: list[object]) -> None:
    """Follow a source whose watch cannot be begun."""
    with ThreadDiscovery(LoadBalancer(["a"]), Failing()) as discovery:
        assert discovery.wait_ready(MAX_WAIT_S)


def of_a_cluster(heard: list[object]) -> None:
    """Follow a cluster that does not answer."""
    told = threading.Event()
    with ThreadDiscovery(
        LoadBalancer(["a"]),
        KubernetesResolver("orders", client=Failing()),
        listeners=[lambda change: (heard.append(change), told.set())],
    ):
        assert told.wait(MAX_WAIT_S)


def of_a_store(_: list[object]) -> None:
    """Exchange with a store that fails."""
    RedisStore(Failing(), name="orders").synchronize()


def of_a_page(_: list[object]) -> None:
    """Read a page that cannot be read."""
    lb = LoadBalancer(["a"])
    scrapes = ThreadScrapes(lb, NodeAttributes(), fail)
    scrapes._endpoints = {"a": lb.endpoints[0]}
    scrapes._failed(lb.endpoints[0], ERROR)


def of_a_transport(heard: list[object]) -> None:
    """Send a request by a transport that cannot be made."""
    with httpx2.Client(transport=BalancedTransport(LoadBalancer(["a"]), transport_factory=fail)) as client:
        with pytest.raises(httpx2.TransportError) as caught:
            client.get("http://orders/")
        heard.append(caught.value)


PLACES: dict[str, Callable[[list[object]], None]] = {
    "a source": of_a_source,
    "a watch": of_a_watch,
    "a cluster": of_a_cluster,
    "a store": of_a_store,
    "a page": of_a_page,
    "a transport": of_a_transport,
}


@pytest.mark.parametrize("place", PLACES)
def test_an_error_of_a_client_shows_no_password(place: str, caplog: pytest.LogCaptureFixture) -> None:
    """Logs, statistics, events and errors tell what a client said, without the passwords of the URL that it named."""
    heard: list[object] = []
    with caplog.at_level("INFO", logger="balancekit"):
        PLACES[place](heard)
    told = [record.getMessage() for record in caplog.records] + [str(one) for one in heard]
    assert any("500 Server Error for url: http://***@10.0.0.1:8080/metrics?token=***" in one for one in told)
    assert PASSWORD not in "".join(told)


@pytest.mark.parametrize(
    "shown",
    [
        brief_error(ERROR),
        brief_error(OSError(f"{'x' * 150} {URL}")),
        brief(URL),
        brief([URL]),
        brief("x" * 150 + URL),
        repr(Endpoint("a", URL)),
        repr(Endpoint("a", [URL])),
        repr(Resolution(endpoints=[Endpoint("a", URL)])),
        repr(LoadBalancer([Endpoint("a", URL)]).endpoints),
        str(ConfigurationError("address", URL, "another")),
        str(UnknownEndpointError("b", [URL])),
    ],
)
def test_a_value_that_is_a_url_is_shown_without_its_password(shown: str) -> None:
    """Errors and endpoints print targets and values that are URLs without the passwords in them."""
    assert PASSWORD not in shown
