"""Integer weights: the smallest integers with the same ratios as given weights.

A weight is read as the decimal number that Python prints for it: 0.1 is one tenth, and not the nearest binary fraction. So
0.5, 0.25, 0.25 become 2, 1, 1. A weight of 1/3 has no small denominator, so there are no small integers for it.

Cost: O(n) operations on large integers; only a ``gcd`` if all weights are integers.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from balancekit._support import validation as valid
from balancekit._support.arguments import checked_arguments

__all__ = ["whole_weights"]


@checked_arguments
def whole_weights(weights: Sequence[float], *, limit: int) -> list[int] | None:
    """Return the smallest integers with the same ratios, or ``None`` if their sum is above ``limit``.

    Parameters
    ----------
    weights
        Finite numbers > 0.
    limit
        The largest sum that is allowed, an integer >= 0.

    Raises
    ------
    ConfigurationError
        If ``limit`` is not an integer >= 0, or ``weights`` holds anything but finite numbers > 0.

    Example
    -------
    >>> from balancekit.scheduling import whole_weights
    >>> whole_weights([0.5, 0.25, 0.25], limit=100)
    [2, 1, 1]
    >>> whole_weights([1 / 3, 1.0], limit=100) is None
    True
    """
    valid.integer("limit", limit, minimum=0)
    valid.numbers("weights", weights, minimum=0.0, above=0.0)
    if all(float(weight).is_integer() for weight in weights):
        whole = [int(weight) for weight in weights]
    else:
        from fractions import Fraction  # noqa: PLC0415 - costs 10 ms that whole weights need not pay

        ratios = [Fraction(repr(float(weight))) for weight in weights]
        scale = math.lcm(*[ratio.denominator for ratio in ratios])
        whole = [int(ratio * scale) for ratio in ratios]
    divisor = math.gcd(*whole)
    whole = [weight // divisor for weight in whole]
    return whole if sum(whole) <= limit else None
