"""Requests of a process that has no file descriptor left."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from tests._descriptors import no_descriptor

from balancekit import Endpoint, First, LoadBalancer, Outcome

from ._clients import KINDS, play
from ._server import Server


@pytest.fixture
def servers() -> Iterator[list[Server]]:
    """Run two endpoints."""
    with ExitStack() as stack:
        yield [stack.enter_context(Server(name)) for name in "ab"]


@pytest.mark.parametrize("named", [False, True], ids=["by number", "by name"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_process_without_descriptors_blames_none(
    kind: str, named: bool, servers: list[Server], caplog: pytest.LogCaptureFixture
) -> None:
    """The caller gets the client's own error, no other endpoint is tried, all stay healthy, and none is called unusable."""
    targets = [f"localhost:{server.port}" if named else server.address for server in servers]
    lb = LoadBalancer(
        [Endpoint(server.name, target) for server, target in zip(servers, targets, strict=True)],
        selector=First(),
    )

    async def scenario(client: Any) -> None:
        with no_descriptor():
            for _ in range(5):
                with pytest.raises((client.refused, *client.broken)):
                    await client.get("http://orders/ok")
        assert (await client.get("http://orders/ok")).text == "a"

    play(kind, lb, scenario)
    stats = lb.stats()
    assert {outcome: n for outcome, n in stats["a"].outcomes.items() if n} == {
        Outcome.IGNORED: 5,
        Outcome.SUCCESS: 1,
    }
    assert not any(stats["b"].outcomes.values())
    assert [one.state for one in stats.endpoints] == ["healthy", "healthy"]
    assert "cannot be used" not in caplog.text
