"""What is no balancer is refused where it is given, by an error that names what it lacks."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from balancekit import ConfigurationError, LoadBalancer
from balancekit.adapters import hedge
from balancekit.adapters.dnslib import BalancerStandings
from balancekit.checks import HttpCheck, ThreadChecks
from balancekit.discovery import StaticResolver, ThreadDiscovery
from balancekit.observability import log_events
from balancekit.waiting import WaitingQueue, WaitingRoom

METHODS = ("acquire", "attempts", "emit", "on_completion", "on_event", "on_start", "report_check", "stats")


def partial(*missing: str) -> Any:
    """Return a wrapper of a balancer that passes on all but some of its members."""
    balancer = LoadBalancer(["a"])
    names = [name for name in (*METHODS, "endpoints") if name not in missing]
    return type("Wrapper", (), {name: getattr(balancer, name) for name in names})()


async def _attempt(_lease: object) -> None:
    """Take no time."""


USERS: dict[str, Callable[[Any], object]] = {
    "hedge": lambda balancer: asyncio.run(hedge(balancer, _attempt)),
    "standings": BalancerStandings,
    "room": lambda balancer: WaitingRoom(balancer, WaitingQueue(max_waiting=1)),
    "log": log_events,
    "checks": lambda balancer: ThreadChecks(balancer, HttpCheck()),
}


@pytest.mark.parametrize("missing", [("stats",), ("on_start", "emit")], ids=str)
@pytest.mark.parametrize("name", USERS)
def test_a_wrapper_that_lacks_something_is_told_what(name: str, missing: tuple[str, ...]) -> None:
    """Each user of a balancer refuses a wrapper without some members when it is given, and names them."""
    if name == "checks" and "report_check" not in missing:
        assert USERS[name](partial(*missing)) is not None  # it needs no more than check results and endpoints
        return
    with pytest.raises(ConfigurationError) as caught:
        USERS[name](partial(*missing))
    assert caught.value.parameter == "balancer"
    assert str(caught.value).endswith(f"; this one lacks {', '.join(sorted(missing))}")


@pytest.mark.parametrize("name", ["hedge", "standings", "room", "log"])
@pytest.mark.parametrize("wrong", [None, "http://a", LoadBalancer, 5], ids=repr)
def test_what_is_no_balancer_at_all_is_refused(name: str, wrong: object) -> None:
    """A value of another kind, and the class itself, are refused without a list of all that they lack."""
    with pytest.raises(ConfigurationError, match=r"^balancer=.*another ObservableBalancer$"):
        USERS[name](wrong)


def test_discovery_needs_updates_too() -> None:
    """A wrapper that is complete but for ``update`` is told so by discovery."""
    with pytest.raises(ConfigurationError, match=r"another UpdatableBalancer; this one lacks update$"):
        ThreadDiscovery(partial(), StaticResolver(["a"]))
    for name in ("hedge", "standings", "room"):
        USERS[name](partial())
