"""One bad target among three: the share of requests that see an error in the minute after it appears."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, nullcontext
from typing import Any

import pytest

from balancekit import Endpoint, LoadBalancer, Outcome
from balancekit.checks import Schedule, TcpCheck, ThreadChecks
from balancekit.events import Ejected, Event, Retried
from balancekit.testing import ManualClock

from ._clients import KINDS, play
from ._server import Server

REQUESTS = 100
MINUTE_S = 60.0
MAX_SHARE = 0.01
TARGETS = {
    "a port too large": "10.0.0.9:99999",
    "nothing listens": "127.0.0.1:1",
    "a name that does not resolve": "nobody.invalid:80",
}


@pytest.fixture(scope="module")
def servers() -> Iterator[list[Server]]:
    """Two servers that are well."""
    with ExitStack() as stack:
        yield [stack.enter_context(Server(name)) for name in ("a", "b")]


@pytest.mark.parametrize("checked", [False, True], ids=["without checks", "with checks"])
@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("kind", KINDS)
def test_at_most_one_request_in_a_hundred_sees_it(
    kind: str, target: str, checked: bool, servers: list[Server]
) -> None:
    """With all defaults and five requests in three seconds, at most 1 % of requests see an error.

    Half of them are POST, and events name the endpoint.
    """
    clock, events = ManualClock(), list[Event]()
    lb = LoadBalancer[Any](
        [Endpoint(server.name, server.address) for server in servers], clock=clock, listeners=[events.append]
    )
    errors: list[str] = []

    async def scenario(client: Any) -> None:
        for number in range(10):
            await client.get(f"http://orders/ok?{number}")
        lb.add(Endpoint("bad", TARGETS[target]))
        for number in range(REQUESTS):
            clock.advance(MINUTE_S / REQUESTS)
            method, body = ("POST", b"x") if number % 2 else ("GET", None)
            try:
                answer = await client.request(method, "http://orders/ok", body=body)
                assert answer.status == 200
            except Exception as error:
                errors.append(f"{type(error).__name__}: {error}")

    with (
        ThreadChecks(lb, TcpCheck(), schedule=Schedule(interval=0.2, timeout=0.2))
        if checked
        else nullcontext()
    ):
        play(kind, lb, scenario, clock=clock)
    print(f"{kind}, {target}, {'with' if checked else 'without'} checks: {len(errors)} of {REQUESTS}")
    assert len(errors) <= MAX_SHARE * REQUESTS, errors
    stats = lb.stats()
    assert stats.inflight == 0
    assert stats.outcomes[Outcome.IGNORED] == 0
    named = {event.endpoint for event in events if isinstance(event, Retried | Ejected)}
    assert named <= {"bad"}
    assert named or (checked and not sum(stats["bad"].outcomes.values()))
