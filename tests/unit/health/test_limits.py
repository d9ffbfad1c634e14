"""Limits of the settings of health: the values at the edge that are allowed, and the first beyond it that are not."""

from __future__ import annotations

import math

import pytest

from balancekit import ConfigurationError
from balancekit.health import (
    AccruedFailures,
    ConsecutiveFailures,
    Ejection,
    FailurePercentage,
    FailurePercentageAbove,
    FlapDamping,
    LatencyLimit,
    Lifecycle,
    MaxFails,
    MedianFailures,
    MedianLatency,
    Probation,
    SuccessRate,
    SuccessRateOutlier,
    Thresholds,
    WarmUp,
)

TINY = 1e-3
POSITIVE = ((TINY,), (0.0, -TINY))
SHARE = ((0.0, 1.0), (-TINY, 1.0 + TINY))
POSITIVE_SHARE = ((TINY, 1.0), (0.0, 1.0 + TINY))
COUNT = ((1,), (0,))

WINDOWED = {"volume": COUNT, "window": POSITIVE, "enforcing": POSITIVE_SHARE}
LIMITS = {
    AccruedFailures: {"fall": COUNT, "reset": COUNT, "rise": COUNT},
    ConsecutiveFailures: dict.fromkeys(("threshold", "connect_failed", "timeout", "overloaded"), COUNT),
    Ejection: {
        "base": POSITIVE,
        "factor": ((1.0,), (1.0 - TINY,)),
        "max_duration": ((1.0,), (1.0 - TINY,)),
        "jitter": SHARE,
        "max_share": SHARE,
        "calm": ((0.0,), (-TINY,)),
    },
    FailurePercentage: {"threshold": POSITIVE_SHARE, "min_hosts": COUNT, **WINDOWED},
    FailurePercentageAbove: {"threshold": SHARE, "min_hosts": COUNT, **WINDOWED},
    FlapDamping: {"flap": ((500.0,), (0.0,)), "reuse": ((500.0,), (0.0,)), "half_life": ((0.5,), (0.0,))},
    LatencyLimit: {"limit": POSITIVE, "quantile": SHARE, **WINDOWED},
    Lifecycle: {"sweep": POSITIVE},
    MaxFails: {"max_fails": COUNT, "fail_timeout": POSITIVE},
    MedianFailures: {
        "factor": POSITIVE,
        "min_excess": POSITIVE_SHARE,
        "min_hosts": ((3,), (2,)),
        **WINDOWED,
    },
    MedianLatency: {
        "factor": POSITIVE,
        "min_excess": POSITIVE,
        "quantile": SHARE,
        "min_hosts": ((3,), (2,)),
        **WINDOWED,
    },
    Probation: {
        "successes": COUNT,
        "concurrency": COUNT,
        "patience": ((*POSITIVE[0], math.inf), POSITIVE[1]),
    },
    WarmUp: {"window": POSITIVE, "aggression": POSITIVE, "min_share": SHARE},
    SuccessRate: {"min_rate": POSITIVE_SHARE, **WINDOWED},
    SuccessRateOutlier: {"factor": POSITIVE, "min_hosts": ((2,), (1,)), **WINDOWED},
    Thresholds: {"rise": COUNT, "fall": COUNT},
}
"""By class and field: values at the edge that are allowed, and values beyond that are not."""

FIELDS = [(kind, name) for kind, fields in LIMITS.items() for name in fields]


def made(kind, **values):
    """Make one, with what it cannot be made without."""
    required = {"limit": 1.0} if kind is LatencyLimit else {}
    return kind(**(required | values))


@pytest.mark.parametrize(("kind", "name"), FIELDS, ids=[f"{kind.__name__}-{name}" for kind, name in FIELDS])
def test_a_setting_takes_the_values_at_its_edge_and_none_beyond(kind, name):
    """What the docstring allows is kept as it was given; the next value beyond raises, and the error names the field."""
    allowed, refused = LIMITS[kind][name]
    for value in allowed:
        assert getattr(made(kind, **{name: value}), name) == value
    for value in refused:
        with pytest.raises(ConfigurationError, match=name):
            made(kind, **{name: value})


@pytest.mark.parametrize(
    ("kind", "name", "value"),
    [
        (ConsecutiveFailures, "threshold", 3),
        (LatencyLimit, "limit", 0.2),
        (WarmUp, "window", 60.0),
        (SuccessRate, "min_rate", 0.9),
    ],
)
def test_the_figure_that_a_setting_is_about_need_not_be_named(kind, name, value):
    """The number that a setting is about is its first field and may be given by position."""
    assert kind(value) == kind(**{name: value})
