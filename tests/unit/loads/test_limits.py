"""Limits of the settings of loads: the values at the edge that are allowed, and the first beyond it that are not."""

from __future__ import annotations

import pytest

from balancekit import ConfigurationError
from balancekit.loads import EwmaLatency, ExpectedDelay, FailureAware, PeakEwmaLatency

TINY = 1e-3
POSITIVE = ((TINY,), (0.0, -TINY))
PENALTY = {
    "success_decay": POSITIVE,
    "healing": POSITIVE,
    "floor": ((TINY, 1.0), (0.0, 1.0 + TINY)),
    "exponent": POSITIVE,
}
LIMITS = {
    ExpectedDelay: {"memory": POSITIVE, **PENALTY},
    FailureAware: {"decay": POSITIVE, **PENALTY},
    EwmaLatency: {"decay": POSITIVE},
    PeakEwmaLatency: {"decay": POSITIVE},
}
"""By class and field: values at the edge that are allowed, and values beyond that are not."""

FIELDS = [(kind, name) for kind, fields in LIMITS.items() for name in fields]


@pytest.mark.parametrize(("kind", "name"), FIELDS, ids=[f"{kind.__name__}-{name}" for kind, name in FIELDS])
def test_a_setting_takes_the_values_at_its_edge_and_none_beyond(kind, name):
    """What the docstring allows is kept as it was given; the next value beyond raises, and the error names the field."""
    allowed, refused = LIMITS[kind][name]
    for value in allowed:
        assert getattr(kind(**{name: value}), name) == value
    for value in refused:
        with pytest.raises(ConfigurationError, match=name):
            kind(**{name: value})


@pytest.mark.parametrize("kind", [EwmaLatency, PeakEwmaLatency])
def test_the_decay_of_a_load_need_not_be_named(kind):
    """The decay of a load is its first field and may be given by position."""
    assert kind(3.0) == kind(decay=3.0)
