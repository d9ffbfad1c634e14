"""Envoy's priority levels and panic mode.

Worked example: three levels of four hosts with 1, 2 and 4 healthy ones, factor 140. Health in percent is
``140 * healthy // hosts``, at most 100: 35, 70, 100. Together that is more than 100, so the load of 100 is
handed out in order: 35, then 65 of the 70, then nothing. Had the sum been less, each level would have got its
part of the sum, and the rounding rest would have gone to the first level with any health.

*Panic.* If all levels together have less than 100 percent health, a level whose share of healthy hosts is
below the threshold uses all of its hosts. If all levels panic, load follows the number of hosts.

Cost: O(levels), when health changes.
Source: Envoy 1.40, ``LoadBalancerBase``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from balancekit._support.arguments import checked_arguments

__all__ = ["Distribution", "distribute"]


class Distribution(NamedTuple):
    """What each level takes."""

    loads: tuple[int, ...]
    """Percent of the requests; together 100."""
    panic: tuple[bool, ...]
    """Whether the level ignores health."""

    @checked_arguments
    def level(self, position: int) -> int:
        """Return the level that serves a request, by its hash or a random number."""
        left = position % 100 + 1
        for level, load in enumerate(self.loads):
            left -= load
            if left <= 0:
                return level
        raise AssertionError(self.loads)


@checked_arguments
def distribute(hosts: Sequence[int], healthy: Sequence[int], *, factor: int, threshold: int) -> Distribution:
    """Return the distribution over levels with that many hosts, of which so many are healthy.

    Parameters
    ----------
    hosts, healthy
        One number per level; at least one host somewhere.
    factor
        Overprovisioning in percent.
    threshold
        Panic threshold in percent; 0 for never.

    Example
    -------
    >>> distribute([4, 4, 4], [1, 2, 4], factor=140, threshold=50).loads
    (35, 65, 0)
    """
    health = [
        min(100, factor * good // total) if total else 0 for good, total in zip(healthy, hosts, strict=True)
    ]
    whole = min(100, sum(health))
    # None is healthy and panic is off: the first level answers that it has none.
    if whole == 0 and threshold == 0:
        return Distribution((100, *[0] * (len(hosts) - 1)), (False,) * len(hosts))
    panic = tuple(
        whole < 100 and 100 * good < threshold * max(total, 1)
        for good, total in zip(healthy, hosts, strict=True)
    )
    if all(panic):
        return Distribution(_handed_out([100 * total // sum(hosts) for total in hosts], hosts), panic)
    return Distribution(_handed_out([level * 100 // whole for level in health], health), panic)


def _handed_out(wishes: Sequence[int], presence: Sequence[int]) -> tuple[int, ...]:
    """Hand out 100 in order; what no level claims goes to the first level that is present at all."""
    left = 100
    loads = []
    for wish in wishes:
        loads.append(min(left, wish))
        left -= loads[-1]
    loads[next(level for level, there in enumerate(presence) if there)] += left
    return tuple(loads)
