"""One contract for all adapters: situation by situation, what the caller sees, and how the lease ends."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from balancekit import Endpoint, First, LoadBalancer, Outcome
from balancekit.retry import RetryBudget

from ._clients import play
from ._server import Server
from ._situations import BROKEN, ELSEWHERE, REASONS, REFUSED, SITUATIONS, TIMED_OUT, Situation, endpoint

CLIENTS = {
    "httpx": "httpx",
    "httpx async": "httpx-asyncio",
    "httpx2": "httpx2",
    "httpx2 async": "httpx2-asyncio",
    "requests": "requests",
    "aiohttp": "aiohttp",
}
PAGE = Path(__file__).parents[2] / "docs" / "reference" / "adapters.md"
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


@pytest.fixture(scope="module")
def good() -> Iterator[Server]:
    """Run the second endpoint."""
    with Server("b") as server:
        yield server


def seen(kind: str, situation: Situation, lb: LoadBalancer[Any]) -> Any:
    """Return what the caller sees."""

    async def scenario(client: Any) -> Any:
        body = b"body" if situation.method == "POST" else None
        try:
            answer = await client.request(
                situation.method, "http://orders/ok", body=body, timeout=situation.timeout
            )
        except client.timed_out:
            return TIMED_OUT
        except client.broken:
            return BROKEN
        except client.refused:
            return REFUSED
        else:
            return ELSEWHERE if answer.info.endpoint.id == "b" else answer.status

    budget = RetryBudget(ratio=0.0, reserve=10.0)
    return play(kind, lb, scenario, attempts=2, budget=budget, rewrite_location=True, cookies="per-endpoint")


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("situation", SITUATIONS, ids=lambda one: f"{one.method} {one.name}")
def test_every_client_does_the_same(situation: Situation, client: str, good: Server) -> None:
    """What the caller sees, the outcome, the retry elsewhere, the end of the lease and the health are as the table says."""
    kind = CLIENTS[client]
    wanted_seen, wanted_outcome = situation.differs.get(client, (situation.seen, situation.outcome))
    with endpoint(situation) as target:
        lb = LoadBalancer([Endpoint("a", target), Endpoint("b", good.address)], selector=First())
        found = seen(kind, situation, lb)
    stats = lb.stats()
    outcomes = {outcome: count for outcome, count in stats["a"].outcomes.items() if count}
    assert (found, outcomes) == (wanted_seen, {wanted_outcome: 1})
    assert stats["b"].outcomes[Outcome.SUCCESS] == (wanted_seen == ELSEWHERE)
    assert stats.inflight == 0
    assert stats["a"].state != "ejected"


def table() -> str:
    """Return the table of the documents."""
    lines = ["| the endpoint | GET | POST | outcome | |", "| --- | --- | --- | --- | --- |"]
    names = list(dict.fromkeys(one.name for one in SITUATIONS))
    for name in names:
        rows = {one.method: one for one in SITUATIONS if one.name == name}
        shown = {
            method: ("elsewhere" if row.seen == ELSEWHERE else str(row.seen)) for method, row in rows.items()
        }
        first = next(iter(rows.values()))
        differing = [f"{client}: {one[0]}, {one[1].value}" for client, one in first.differs.items()]
        note = f"{'; '.join(differing)}: {REASONS[name]}" if differing else ""
        lines.append(
            f"| {name} | {shown.get('GET', '')} | {shown.get('POST', '')} | {first.outcome.value} | {note} |"
        )
    return "\n".join(lines) + "\n"


def test_the_table_in_the_documents_is_this_one() -> None:
    """``docs/reference/adapters.md`` ends with the table that is tested."""
    assert PAGE.read_text(encoding="utf-8").endswith(table())


def test_the_table_is_wide_enough_and_each_difference_has_a_reason() -> None:
    """The table has at least 60 situations, and names why a client does something else."""
    assert len(SITUATIONS) >= 60
    assert {one.name for one in SITUATIONS if one.differs} == set(REASONS)
