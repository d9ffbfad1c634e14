"""An endpoint has tokens of a shared quota, whatever change of the pool was interrupted."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from tests.concurrency._interrupts import Interrupt

from balancekit import LoadBalancer, UnavailableError
from balancekit.selectors import RoundRobin
from balancekit.sharing import RedisStore, SharedRateLimit
from balancekit.sharing._store import StoreCore


class Generous:
    """A client of a store that grants what is asked for."""

    def eval(self, _script: str, _keys: int, *arguments: Any) -> str:
        """Answer one question."""
        asked = json.loads(arguments[-1])
        sums, granted = (
            [0 for _ in asked.get("counts", ())],
            [wanted for *_, wanted in asked.get("quotas", ())],
        )
        return json.dumps({"sums": sums, "hints": [], "granted": granted})


class Interruptible(RoundRobin):
    """A child that is interrupted while it prepares, when it is told."""

    interrupted = False

    def prepare(self, _snapshot: object, /) -> None:
        """Be interrupted."""
        if self.interrupted:
            raise Interrupt


CHANGES: dict[str, Callable[[LoadBalancer[Any]], object]] = {
    "add": lambda lb: lb.add("c"),
    "remove": lambda lb: lb.remove("b"),
    "update": lambda lb: lb.update(["a", "c"]),
}


def ask_each(lb: LoadBalancer[Any]) -> list[str]:
    """Ask each endpoint once; return those that have no tokens."""
    ids, short = [endpoint.id for endpoint in lb.endpoints], []
    for id in ids:
        try:
            lb.acquire(exclude=[other for other in ids if other != id]).release()
        except UnavailableError:
            short.append(id)
    return short


@pytest.mark.parametrize("name", CHANGES)
@pytest.mark.parametrize("where", ["in the child", "before the quota", "behind the quota"])
@pytest.mark.parametrize("again", [False, True], ids=["given up", "again"])
def test_an_endpoint_of_an_interrupted_change_has_tokens(
    name: str, where: str, again: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One exchange after its first request each endpoint of a pool has tokens, wherever a change was interrupted."""
    monkeypatch.setattr(RedisStore, "start", lambda _store: None)
    add_quota = StoreCore.add_quota

    def interrupted(core: StoreCore, quota: Any) -> None:
        if where == "behind the quota":
            add_quota(core, quota)
        raise Interrupt

    client: Any = Generous()
    store = RedisStore(client, name="x", period=1000.0)
    lb = LoadBalancer(["a", "b"], selector=SharedRateLimit(store, 10.0, child=Interruptible))
    with monkeypatch.context() as patch, suppress(Interrupt):
        if where == "in the child":
            patch.setattr(Interruptible, "interrupted", True)
        else:
            patch.setattr(StoreCore, "add_quota", interrupted)
        CHANGES[name](lb)
    if again and (name != "remove" or len(lb.endpoints) == 2):
        CHANGES[name](lb)
    ask_each(lb)
    store.synchronize()
    assert ask_each(lb) == []
