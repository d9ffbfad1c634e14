"""Whose certificate is it? That of the name that was asked for, and of no other."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme

from balancekit import Endpoint, First, LoadBalancer, Outcome
from balancekit.adapters import HttpTarget

from ._clients import KINDS, play
from ._server import Server

every_client = pytest.mark.parametrize("kind", KINDS)


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    """Who signs the certificates."""
    return trustme.CA()


@pytest.fixture(scope="module")
def ca(authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Its file."""
    path: Path = tmp_path_factory.mktemp("tls") / "ca.pem"
    authority.cert_pem.write_to_path(str(path))
    return str(path)


@pytest.fixture
def secure(authority: trustme.CA) -> Iterator[Server]:
    """Start a server that can prove to be ``orders``."""
    with Server("a", authority=authority, names=("orders",)) as server:
        yield server


@every_client
def test_pods_are_asked_for_the_service(kind: str, secure: Server, ca: str) -> None:
    """An endpoint whose address is a number must have a certificate of the service."""
    lb = LoadBalancer([secure.address], selector=First())

    async def scenario(client: Any) -> None:
        assert (await client.get("https://orders/ok")).text == "a"
        assert (await client.get("https://orders/ok")).text == "a"

    play(kind, lb, scenario, ca=ca)
    assert set(secure.names) == {"orders"}
    assert {seen.headers["host"] for seen in secure.seen} == {"orders"}


@every_client
def test_a_certificate_of_another_name_is_refused(kind: str, secure: Server, ca: str) -> None:
    """A certificate of another name is refused, also after a connection to that address was verified under the right name."""
    lb = LoadBalancer([secure.address], selector=First(), health=None)

    async def scenario(client: Any) -> None:
        assert (await client.get("https://orders/ok")).text == "a"
        with pytest.raises(client.refused):
            await client.get("https://invoices/ok")

    play(kind, lb, scenario, ca=ca)
    assert lb.stats()[secure.address].outcomes[Outcome.CONNECT_FAILED] == 1


@every_client
def test_a_vendor_is_asked_for_its_own_name(kind: str, authority: trustme.CA, ca: str) -> None:
    """A vendor's certificate is checked for the name of its address, or for the name that the target gives."""
    with Server("v", authority=authority, names=("localhost", "vendor.example")) as vendor:
        targets = [
            Endpoint("by address", HttpTarget(url=f"https://localhost:{vendor.port}")),
            Endpoint("by target", HttpTarget(url=f"https://{vendor.address}", authority="vendor.example")),
        ]
        for target, name in zip(targets, ("localhost", "vendor.example"), strict=True):
            lb: LoadBalancer[HttpTarget] = LoadBalancer([target])

            async def scenario(client: Any) -> None:
                assert (await client.get("http://orders/ok")).text == "v"

            play(kind, lb, scenario, ca=ca)
            assert vendor.names[-1] == name
            assert vendor.seen[-1].headers["host"].partition(":")[0] == name


@every_client
def test_the_name_can_be_said(kind: str, secure: Server, ca: str) -> None:
    """``server_name`` sets the name in TLS for one endpoint, and ``authority`` for all."""
    target = HttpTarget(url=f"https://{secure.address}", server_name="orders")
    lb: LoadBalancer[HttpTarget] = LoadBalancer([Endpoint("a", target)])

    async def scenario(client: Any) -> None:
        assert (await client.get("http://anything/ok")).text == "a"

    play(kind, lb, scenario, ca=ca)
    assert secure.seen[-1].headers["host"] == "anything"
