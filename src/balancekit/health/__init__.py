"""Health policies: state machines that decide from the results of requests and checks which endpoints are ejected.

:class:`Lifecycle` is the policy for a balancer. Its parts are policies that can be used alone. The machines have no I/O
and no clock: the caller passes the time as ``now``, in seconds of any monotonic clock.
"""

from __future__ import annotations

from balancekit._support.lazy import lazily
from balancekit.outcome import CheckResult

TYPE_CHECKING = False
if TYPE_CHECKING:
    from balancekit.health._accrued import AccruedFailures, AccruedFailuresMachine
    from balancekit.health._damping import Damper, Damping, FlapDamping
    from balancekit.health._ejection import Ejection
    from balancekit.health._failures import ConsecutiveFailures, FailureRun, Run
    from balancekit.health._lifecycle import Lifecycle
    from balancekit.health._machine import LifecycleMachine
    from balancekit.health._maxfails import Fails, MaxFails, MaxFailsMachine
    from balancekit.health._membership import MEMBERSHIP, Membership, Move
    from balancekit.health._outlier import (
        FailurePercentage,
        FailurePercentageAbove,
        MedianFailures,
        MedianLatency,
        SuccessRateOutlier,
    )
    from balancekit.health._probation import Probation, Trial, TrialMachine
    from balancekit.health._rate import LatencyLimit, SuccessRate
    from balancekit.health._report import EndpointReport
    from balancekit.health._states import ELIGIBLE, START_STATES, TRANSITIONS, Health, Trigger, after, shown
    from balancekit.health._sweep import OutlierSweep, Rule
    from balancekit.health._table import Table, following
    from balancekit.health._tables import TABLES
    from balancekit.health._threshold import CheckState, Detection, ThresholdMachine, Thresholds
    from balancekit.health._warmup import Warmth, WarmUp, WarmUpMachine

__all__ = [
    "ELIGIBLE",
    "MEMBERSHIP",
    "START_STATES",
    "TABLES",
    "TRANSITIONS",
    "AccruedFailures",
    "AccruedFailuresMachine",
    "CheckResult",
    "CheckState",
    "ConsecutiveFailures",
    "Damper",
    "Damping",
    "Detection",
    "Ejection",
    "EndpointReport",
    "Fails",
    "FailurePercentage",
    "FailurePercentageAbove",
    "FailureRun",
    "FlapDamping",
    "Health",
    "LatencyLimit",
    "Lifecycle",
    "LifecycleMachine",
    "MaxFails",
    "MaxFailsMachine",
    "MedianFailures",
    "MedianLatency",
    "Membership",
    "Move",
    "OutlierSweep",
    "Probation",
    "Rule",
    "Run",
    "SuccessRate",
    "SuccessRateOutlier",
    "Table",
    "ThresholdMachine",
    "Thresholds",
    "Trial",
    "TrialMachine",
    "Trigger",
    "WarmUp",
    "WarmUpMachine",
    "Warmth",
    "after",
    "following",
    "shown",
]

if not TYPE_CHECKING:  # type checkers read the imports above, and know no other names
    __getattr__ = lazily(
        __name__,
        {
            "_accrued": ("AccruedFailures", "AccruedFailuresMachine"),
            "_damping": ("Damper", "Damping", "FlapDamping"),
            "_ejection": ("Ejection",),
            "_failures": ("ConsecutiveFailures", "FailureRun", "Run"),
            "_lifecycle": ("Lifecycle",),
            "_machine": ("LifecycleMachine",),
            "_maxfails": ("Fails", "MaxFails", "MaxFailsMachine"),
            "_membership": ("MEMBERSHIP", "Membership", "Move"),
            "_outlier": (
                "FailurePercentage",
                "FailurePercentageAbove",
                "MedianFailures",
                "MedianLatency",
                "SuccessRateOutlier",
            ),
            "_probation": ("Probation", "Trial", "TrialMachine"),
            "_rate": ("LatencyLimit", "SuccessRate"),
            "_report": ("EndpointReport",),
            "_states": ("ELIGIBLE", "START_STATES", "TRANSITIONS", "Health", "Trigger", "after", "shown"),
            "_sweep": ("Rule", "OutlierSweep"),
            "_table": ("Table", "following"),
            "_tables": ("TABLES",),
            "_threshold": ("CheckState", "Detection", "ThresholdMachine", "Thresholds"),
            "_warmup": ("Warmth", "WarmUp", "WarmUpMachine"),
        },
    )


def __dir__() -> list[str]:
    return list(__all__)
