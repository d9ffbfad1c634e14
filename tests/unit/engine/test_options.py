"""Options of a balancer that are classes where an instance is meant."""

from __future__ import annotations

from typing import Any

import pytest

from balancekit import ConfigurationError, LoadBalancer
from balancekit.exhaustion import FailOpen
from balancekit.health import Lifecycle
from balancekit.loads import EwmaLatency, InFlight


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
