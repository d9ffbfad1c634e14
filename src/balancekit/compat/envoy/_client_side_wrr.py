"""Envoy's ``client_side_weighted_round_robin``: weights from load reports, rounded down; missing ones are the median."""

from __future__ import annotations

from typing import Final

from balancekit._support import validation as valid
from balancekit._support.arguments import checked_arguments
from balancekit.reported import MissingWeight, ReportedRoundRobin, ReportedWeights

__all__ = ["client_side_weighted_round_robin"]

MIN_PERIOD_S: Final = 0.1
"""Minimum time between two updates of weights."""


@checked_arguments
def client_side_weighted_round_robin(
    *,
    blackout_period: float = 10.0,
    weight_expiration_period: float = 180.0,
    weight_update_period: float = 1.0,
    error_utilization_penalty: float = 0.0,
    metric_names_for_computing_utilization: tuple[str, ...] = (),
) -> ReportedRoundRobin:
    """Return the selector, with the names and defaults of Envoy 1.40.0.

    Parameters
    ----------
    blackout_period
        Seconds after the first report of an endpoint for which its weight is not used, >= 0.
    weight_expiration_period
        Seconds after the last report for which a weight is used, > 0.
    weight_update_period
        Seconds between two updates of the weights, >= 0. The minimum is 0.1 s.
    error_utilization_penalty
        Number that is added to the utilization for an error rate of one per request, >= 0.
    metric_names_for_computing_utilization
        Metrics of a report that are preferred to the application utilization, such as ``"named_metrics.gpu"``.

    Raises
    ------
    ConfigurationError
        If a period or the penalty is negative, the expiration is not > 0, or the names are no tuple of
        strings.

    Example
    -------
    >>> from balancekit.compat.envoy import client_side_weighted_round_robin
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
