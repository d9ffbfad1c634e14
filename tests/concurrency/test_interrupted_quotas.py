"""An endpoint has tokens of a shared quota, whatever change of the pool was interrupted."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from tests.concurrency._interrupts import Injector, Interrupt

from balancekit import LoadBalancer, UnavailableError
from balancekit.selectors import RoundRobin
from balancekit.sharing import RedisStore, SharedRateLimit
from balancekit.sharing._rate_limit import TokenBlock
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


@pytest.mark.usefixtures("switch_often")
def test_tokens_are_neither_lost_nor_made_by_threads() -> None:
    """What was granted is what was spent and what is held, with exchanges in many threads beside a pick."""
    block, threads, rounds = TokenBlock("a", 1.0, 1e9, 1.0), 4, 2_000

    def exchange() -> None:
        for _ in range(rounds):
            block.request()
            block.grant(1.0)

    running = [threading.Thread(target=exchange) for _ in range(threads)]
    for thread in running:
        thread.start()
    spent = 0
    while any(map(threading.Thread.is_alive, running)):
        block.settle(0.0)
        if block.has(1.0):
            block.spend(1.0)
            spent += 1
    block.settle(0.0)
    assert block.tokens + spent == threads * rounds


@pytest.mark.parametrize("jumps", [False, True])
@pytest.mark.parametrize("step", ["settle", "spend", "grant", "forfeit"])
def test_an_interrupted_step_of_a_block_is_made_whole_or_not_at_all(step: str, jumps: bool) -> None:
    """Tokens, and what the next question asks for, are those before a step or after it, wherever it is interrupted."""

    def made() -> TokenBlock:
        block = TokenBlock("a", 1.0, 100.0, 1.0)
        block.grant(5.0)
        block.settle(0.0)
        block.spend(2.0)
        block.grant(3.0)
        return block

    def state(block: TokenBlock) -> tuple[float, float]:
        return block.tokens, block.request()[-1]

    acts: dict[str, Callable[[TokenBlock], object]] = {
        "settle": lambda block: block.settle(1.0),
        "spend": lambda block: block.spend(2.5),
        "grant": lambda block: block.grant(7.0),
        "forfeit": lambda block: block.forfeit(),
    }
    done = made()
    acts[step](done)
    allowed = [state(made()), state(done)]
    for place in range(1, 100):
        block, injector = made(), Injector(place, jumps=jumps)
        with suppress(Interrupt), injector:
            acts[step](block)
        assert state(block) in allowed, injector.where
        if not injector.where:
            break
    else:
        raise AssertionError("there is no end of places")
