"""Requirements of loads: what is missing is refused by name, before a request can find it out."""

from __future__ import annotations

import pytest

from balancekit import ConfigurationError, LoadBalancer
from balancekit.engine.requirements import refuse_incomplete
from balancekit.loads import InFlight


class Passing:
    """A wrapper whose members are answered by ``__getattr__``, its own, or a property that raises."""

    own = 1

    @property
    def broken(self) -> None:
        raise AttributeError("inside")

    def __getattr__(self, name: str) -> object:
        if name == "raises":
            raise RuntimeError(name)
        if name == "passed":
            return 1
        raise AttributeError(name)


def test_a_required_member_may_be_passed_on() -> None:
    """Members of the class, of the instance and of ``__getattr__`` are there, whatever they raise; others are named."""
    given = Passing()
    given.given = 1
    refuse_incomplete("load", given, ["own", "broken", "raises", "passed", "given"])
    with pytest.raises(ConfigurationError, match=r"load=.*missing: finished, value"):
        refuse_incomplete("load", given, ["own", "finished", "value"])


def test_a_refused_load_changes_nothing() -> None:
    """An endpoint whose load lacks a method is refused as it is added, and the pool serves on."""
    bad = {"c"}
    lb = LoadBalancer(["a"], load=lambda node: None if node.id in bad else InFlight()(node))
    with pytest.raises(ConfigurationError, match="missing: started, finished, value"):
        lb.update(["b", "c"])
    with lb.acquire() as lease:
        assert lease.target == "a"
    assert lb.stats().inflight == 0
