"""gRPC's ``weighted_round_robin`` (proposal A58), for requests that are not gRPC.

The rules, numbers and names are those of grpcio 1.85.3. An endpoint without a report has the mean weight of the others. No weight
is less than a hundredth or more than ten times the mean. With fewer than two reports, the selector is plain round robin.

*When not to use it:* for gRPC channels. Use gRPC's own policy in the service config.
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
    """Return the selector.

    Parameters
    ----------
    blackout_period
        Seconds after the first report of an endpoint for which its weight is not used, >= 0.
    weight_expiration_period
        Seconds after the last report for which a weight is used, > 0.
    weight_update_period
        Seconds between two computations of the weights, > 0.
    error_utilization_penalty
        Number that is added to the utilization for an error rate of one per request, >= 0.
    metric_names_for_computing_utilization
        Metrics of a report that are preferred to the application utilization (proposal A114).

    Raises
    ------
    ConfigurationError
        If a parameter is negative, the expiration or update period is 0, or the names are no tuple of
        strings.

    Example
    -------
    >>> from balancekit.compat.grpc import weighted_round_robin
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
