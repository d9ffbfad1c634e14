"""Options of a balancer: classes where an instance is meant, and keys that are required."""

from __future__ import annotations

from typing import Any

import pytest

from balancekit import ConfigurationError, First, LoadBalancer, MissingKeyError, RoundRobin
from balancekit.exhaustion import FailOpen
from balancekit.health import Lifecycle
from balancekit.loads import EwmaLatency, InFlight
from balancekit.selectors import RingHash


@pytest.mark.parametrize(
    ("name", "kind"),
    [("load", InFlight), ("load", EwmaLatency), ("health", Lifecycle), ("exhaustion", FailOpen)],
)
def test_a_class_is_refused_with_the_call_that_was_meant(name: str, kind: type) -> None:
    """``load=InFlight`` raises, and the error says ``InFlight()``."""
    options: dict[str, Any] = {name: kind}
    with pytest.raises(ConfigurationError, match=rf"an instance: {kind.__name__}\(\)") as caught:
        LoadBalancer(["a"], **options)
    assert caught.value.parameter == name
    options[name] = kind()
    assert len(LoadBalancer(["a"], **options)) == 1


@pytest.mark.parametrize("selector", [RoundRobin, RingHash, First])
def test_a_request_without_a_required_key_is_refused_whatever_the_selector(selector: type) -> None:
    """With ``on_missing_key="refuse"`` a plain request raises, again and again, and one with a key is picked for."""
    lb = LoadBalancer(["a", "b"], selector=selector(), on_missing_key="refuse")
    for _ in range(3):
        with pytest.raises(MissingKeyError):
            lb.acquire()
        picked = lb.explain("key").picked
        with lb.acquire("key") as lease:
            assert (lease.target != picked) == (selector is RoundRobin)  # to explain takes a turn
    assert lb.stats().completed == 3
