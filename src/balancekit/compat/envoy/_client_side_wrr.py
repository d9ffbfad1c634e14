"""Envoy's ``client_side_weighted_round_robin``: weights from load reports, truncated, missing ones the median."""

from __future__ import annotations

from typing import Final

from balancekit._support import validation as valid
from balancekit._support.arguments import checked_arguments
from balancekit.reported import MissingWeight, ReportedRoundRobin, ReportedWeights

__all__ = ["client_side_weighted_round_robin"]

MIN_PERIOD_S: Final = 0.1
"""Envoy updates weights no more often."""


@checked_arguments
def client_side_weighted_round_robin(
    *,
    blackout_period: float = 10.0,
    weight_expiration_period: float = 180.0,
    weight_update_period: float = 1.0,
    error_utilization_penalty: float = 0.0,
    metric_names_for_computing_utilization: tuple[str, ...] = (),
) -> ReportedRoundRobin:
    """Make the selector, with the names and defaults of Envoy 1.40.0.

    Parameters
    ----------
    blackout_period, weight_expiration_period, weight_update_period
        Seconds; weights are updated every 0.1 s at most.
    error_utilization_penalty
        What one error per request adds to the utilization.
    metric_names_for_computing_utilization
        Figures to use before the application's: ``"named_metrics.gpu"``.

    Raises
    ------
    ConfigurationError
        If a period or the penalty is negative, the expiration is not > 0, or the names are no tuple of
        strings.

    Example
    -------
    >>> client_side_weighted_round_robin(blackout_period=1.0).weights
    {}
    """
    rule = ReportedWeights(
        blackout=valid.number("blackout_period", blackout_period, minimum=0.0),
        expiry=valid.number("weight_expiration_period", weight_expiration_period, above=0.0),
        error_penalty=valid.number("error_utilization_penalty", error_utilization_penalty, minimum=0.0),
        metrics=metric_names_for_computing_utilization,
        missing=MissingWeight.MEDIAN,
        min_reports=1,
        min_ratio=0.0,
        max_ratio=None,
        errors_alone=True,
        whole=True,
    )
    period = valid.number("weight_update_period", weight_update_period, minimum=0.0)
    return ReportedRoundRobin(rule, period=max(MIN_PERIOD_S, period))
