"""``Retry-After`` and rate-limit headers, read into seconds; ``Retry-After`` also written.

``Retry-After`` is a number of seconds or a date (RFC 9110, 10.2.3); some model providers add ``retry-after-ms``.
``x-ratelimit-remaining-*: 0`` with ``x-ratelimit-reset-*`` gives the same time before the first refusal; the reset is a
number of seconds, or a duration such as ``6m0s`` or ``250ms``. A value that cannot be read is ignored. If a server and a proxy
have both added a header, the first counts: some clients join them with a comma, and one shows the first only.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Final

__all__ = ["format_retry_after", "quota_reset", "retry_after"]

QUOTAS: Final = ("requests", "tokens")
_NUMBER: Final = re.compile(r"[0-9]{1,300}(?:\.[0-9]{0,300})?")
"""Digits of ASCII; ``float`` takes signs, exponents, underscores and the digits of other scripts as well."""
_LEAP_SECOND: Final = re.compile(r"(:[0-9]{2}):60\b")
_DURATION: Final = re.compile(
    r"(?:(\d+(?:\.\d+)?)h)?(?:(\d+(?:\.\d+)?)m(?!s))?(?:(\d+(?:\.\d+)?)s)?(?:(\d+(?:\.\d+)?)ms)?", re.ASCII
)


def retry_after(headers: Mapping[str, str], *, wall: float) -> float | None:
    """Read ``Retry-After``.

    Parameters
    ----------
    headers
        Of an answer; names in any case are the mapping's business.
    wall
        The time of the day in seconds since 1970, for dates.

    Example
    -------
    >>> retry_after({"Retry-After": "20"}, wall=0.0)
    20.0
    >>> retry_after({"Retry-After": "Thu, 01 Jan 1970 00:01:00 GMT"}, wall=15.0)
    45.0
    >>> retry_after({"Retry-After": "Thu Jan  1 00:01:00 1970"}, wall=15.0)
    45.0
    >>> retry_after({"Retry-After": "5, 120"}, wall=0.0)
    5.0
    """
    precise = _number((headers.get("retry-after-ms") or "").partition(",")[0])
    if precise is not None:
        return precise / 1000.0
    text = headers.get("Retry-After")
    if text is None:
        return None
    seconds = _number(text.partition(",")[0])
    if seconds is not None:
        return seconds
    try:
        date = parsedate_to_datetime(_LEAP_SECOND.sub(r"\1:59", text))
        if date.tzinfo is None:
            # The form of asctime, which has no zone: HTTP dates are in UTC (RFC 9110, 5.6.7).
            date = date.replace(tzinfo=UTC)
        return max(0.0, date.timestamp() - wall)
    except (ValueError, OverflowError):
        return None


def format_retry_after(seconds: float | None) -> str | None:
    """Return the value of ``Retry-After`` for a wait; ``None``, for no header, if it is not known.

    It is a whole number, never too soon: rounded up, and at least 1, as 0 invites a retry at once.

    Example
    -------
    >>> format_retry_after(2.5)
    '3'
    """
    return None if seconds is None else str(max(1, math.ceil(seconds)))


def quota_reset(headers: Mapping[str, str]) -> float | None:
    """Read when a quota that is used up will be full again; ``None`` if none is used up.

    Example
    -------
    >>> quota_reset({"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "1m30s"})
    90.0
    """
    longest = None
    for quota in QUOTAS:
        if headers.get(f"x-ratelimit-remaining-{quota}") == "0":
            reset = _duration(headers.get(f"x-ratelimit-reset-{quota}"))
            if reset is not None:
                longest = max(reset, longest or 0.0)
    return longest


def _number(text: str | None) -> float | None:
    bare = "" if text is None else text.strip()
    if _NUMBER.fullmatch(bare) is None:
        return None
    value = float(bare)
    return value if math.isfinite(value) else None


def _duration(text: str | None) -> float | None:
    seconds = _number(text)
    if seconds is not None or not text:
        return seconds
    match = _DURATION.fullmatch(text.strip())
    if match is None:
        return None
    hours, minutes, rest, milliseconds = (float(part or 0.0) for part in match.groups())
    total = 3600.0 * hours + 60.0 * minutes + rest + milliseconds / 1000.0
    return total if math.isfinite(total) else None
