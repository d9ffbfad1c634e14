"""The gradient controller of Envoy's ``adaptive_concurrency``: its figures in the library's units."""

from __future__ import annotations

import pytest

from balancekit import ConfigurationError
from balancekit.compat.envoy import gradient_controller
from balancekit.routing import Gradient


def test_the_defaults_are_those_of_envoy() -> None:
    """What is left out is what the messages of Envoy 1.40.0 say, per cent as shares."""
    assert gradient_controller(concurrency_update_interval=0.1, interval=30.0) == Gradient(
        min_rtt=None,
        buffer=0.25,
        quantile=0.5,
        interval=0.1,
        min_limit=3,
        max_limit=1000,
        min_rtt_interval=30.0,
        min_rtt_requests=50,
        jitter=0.15,
    )


def test_every_figure_has_its_place() -> None:
    """Each figure that is given is in the rule, and the limit is the least one if the greatest is below it."""
    rule = gradient_controller(
        concurrency_update_interval=0.2,
        sample_aggregate_percentile=90.0,
        max_concurrency_limit=7,
        fixed_value=0.02,
        request_count=9,
        jitter=5.0,
        min_concurrency=8,
        buffer=50.0,
    )
    assert (rule.min_rtt, rule.buffer, rule.quantile, rule.interval) == (0.02, 0.5, 0.9, 0.2)
    assert (rule.min_limit, rule.max_limit, rule.min_rtt_requests, rule.jitter) == (8, 8, 9, 0.05)


@pytest.mark.parametrize("options", [{}, {"interval": 30.0, "fixed_value": 0.02}], ids=["neither", "both"])
def test_the_least_latency_is_measured_or_given(options: dict[str, float]) -> None:
    """Neither and both of ``interval`` and ``fixed_value`` are refused."""
    with pytest.raises(ConfigurationError, match="interval"):
        gradient_controller(concurrency_update_interval=0.1, **options)
