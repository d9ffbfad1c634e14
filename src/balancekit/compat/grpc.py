"""gRPC's ``weighted_round_robin`` (proposal A58), for programs that balance what is not gRPC.

The rule, figures and names of grpcio 1.85.3: an endpoint without a report has the mean of the others, and none less than a
hundredth or more than ten times that; with fewer than two reports it is plain round robin. In gRPC itself use its own, by
service config.
"""

from __future__ import annotations

from balancekit._support import validation as valid
from balancekit._support.arguments import checked_arguments
from balancekit.reported import MissingWeight, ReportedRoundRobin, ReportedWeights

__all__ = ["weighted_round_robin"]


@checked_arguments
def weighted_round_robin(
    *,
    blackout_period: float = 10.0,
    weight_expiration_period: float = 180.0,
    weight_update_period: float = 1.0,
    error_utilization_penalty: float = 1.0,
    metric_names_for_computing_utilization: tuple[str, ...] = (),
) -> ReportedRoundRobin:
    """Make the selector.

    Parameters
    ----------
    blackout_period, weight_expiration_period, weight_update_period
        Seconds.
    error_utilization_penalty
        What one error per request adds to the utilization.
    metric_names_for_computing_utilization
        Figures to use before the application's (proposal A114).

    Raises
    ------
    ConfigurationError
        If a parameter is negative, the expiration or update period is 0, or the names are no tuple of
        strings.

    Example
    -------
    >>> weighted_round_robin(blackout_period=1.0).weights
    {}
    """
    rule = ReportedWeights(
        blackout=valid.number("blackout_period", blackout_period, minimum=0.0),
        expiry=valid.number("weight_expiration_period", weight_expiration_period, above=0.0),
        error_penalty=valid.number("error_utilization_penalty", error_utilization_penalty, minimum=0.0),
        metrics=metric_names_for_computing_utilization,
        missing=MissingWeight.MEAN,
        min_reports=2,
    )
    period = valid.number("weight_update_period", weight_update_period, above=0.0)
    return ReportedRoundRobin(rule, period=period)
