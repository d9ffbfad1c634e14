"""The errors for requests that get no endpoint: the reasons, the retry time, and advice."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Mapping
from typing import Final

from balancekit._support.text import figure
from balancekit.engine.member import Member
from balancekit.errors import (
    AllIneligibleError,
    AttemptsExhaustedError,
    PoolEmptyError,
    Reason,
    SaturatedError,
    UnavailableError,
)

__all__ = ["refused", "unavailable"]

_TIMED: Final = frozenset({Reason.EJECTED, Reason.SUPPRESSED, Reason.COOLING})
_COULD_SERVE: Final = frozenset({None, Reason.ZERO_WEIGHT})


def unavailable(
    members: Collection[Member],
    tried: Collection[str],
    *,
    now: float,
    panic: bool = False,
) -> UnavailableError:
    """Return the error for a request for which no endpoint is eligible.

    The error has the number of endpoints for each reason and the earliest time at which one returns.

    Parameters
    ----------
    members
        All endpoints of the pool.
    tried
        The excluded ids.
    now
        The time of the request.
    panic
        Whether health is ignored. Then the reason of an endpoint in ``tried`` is ``EXCLUDED``, whatever its health.
    """
    if not members:
        return PoolEmptyError("the pool has no endpoints; add one", at=now)
    reasons: dict[Reason, int] = {}
    due: list[float] = []
    for member in members:
        reason = member.reason
        if reason in _TIMED and member.back_at < math.inf:
            due.append(member.back_at)
        if member.node.id in tried and (reason in _COULD_SERVE or (panic and member.serving)):
            reason = Reason.EXCLUDED
        if reason is not None:
            reasons[reason] = reasons.get(reason, 0) + 1
    retry_at = min(due, default=None)
    kind = AttemptsExhaustedError if Reason.EXCLUDED in reasons else AllIneligibleError
    return kind(_explanation(len(members), reasons, retry_at, now), retry_at, reasons, now)


def refused(
    selector: str, size: int, why: Collection[Reason], retry_at: float | None, *, now: float
) -> UnavailableError:
    """Return the error for a selector that picked none of ``size`` eligible endpoints.

    The error has the selector's reasons and its retry time, if it reports them.
    """
    text = f"{selector} picked none of {size} eligible endpoint{'s'[: size != 1]}"
    reasons = dict(Counter(why))
    if not reasons:
        return AllIneligibleError(text, at=now)
    found = ", ".join(f"{count} {reason.value}" for reason, count in reasons.items())
    if Reason.SATURATED in reasons:
        advice = "shed load, or wait for a lease to end"
        if retry_at is not None:
            advice = f"retry in {figure(max(0.0, retry_at - now))} s, or shed load"
        return SaturatedError(f"{text}: {found}; {advice}", retry_at, reasons, now)
    return AllIneligibleError(
        f"{text}: {found}; add an endpoint that matches, or send the request elsewhere", None, reasons, now
    )


def _explanation(size: int, reasons: Mapping[Reason, int], retry_at: float | None, now: float) -> str:
    found = ", ".join(f"{count} {reason.value}" for reason, count in reasons.items())
    if retry_at is not None:
        advice = f"retry in {figure(max(0.0, retry_at - now))} s, or allow panic with exhaustion=FailOpen()"
    elif Reason.EXCLUDED in reasons:
        advice = "give up, or let the request try an endpoint again"
    elif Reason.UNKNOWN in reasons:
        advice = "wait for the first checks; make sure that the checks are started"
    else:
        advice = "add an endpoint, or end the drain or the zero weight of one"
    return f"0 of {size} endpoint{'s'[: size != 1]} eligible: {found}; {advice}"
