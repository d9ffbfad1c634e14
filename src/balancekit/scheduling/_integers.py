"""Integer weights: the smallest integers with the same ratios.

A weight is taken as the decimal number it prints as: 0.1 is a tenth, not the binary fraction next to it.
So 0.5, 0.25, 0.25 is 2 : 1 : 1, while 1/3 has no small denominator and is left alone.

Cost: O(n) big-number operations; nothing but a ``gcd`` when the weights are whole.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from balancekit._support import validation as valid
from balancekit._support.arguments import checked_arguments

__all__ = ["whole_weights"]


@checked_arguments
def whole_weights(weights: Sequence[float], *, limit: int) -> list[int] | None:
    """Return integers in the same proportion whose sum is at most ``limit``; ``None`` if there are none.

    Parameters
    ----------
    weights
        Finite numbers > 0.
    limit
        The greatest sum that is of use.

    Raises
    ------
    ConfigurationError
        If ``limit`` is not a whole number >= 0, or ``weights`` holds something other than finite numbers.

    Example
    -------
    >>> whole_weights([0.5, 0.25, 0.25], limit=100)
    [2, 1, 1]
    >>> whole_weights([1 / 3, 1.0], limit=100) is None
    True
    """
    valid.integer("limit", limit, minimum=0)
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
