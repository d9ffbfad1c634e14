"""Envoy's priority levels and panic mode.

Worked example: three levels of four hosts with 1, 2 and 4 healthy ones, factor 140. Health in percent is
``140 * healthy // hosts``, at most 100: 35, 70, 100. Together that is more than 100, so the load of 100 is
handed out in order: 35, then 65 of the 70, then nothing. Had the sum been less, each level would have got its
part of the sum, and the rounding rest would have gone to the first level with any health.

*Degraded hosts* take what the healthy ones of all levels leave over, in the same way.

*Panic.* If all levels together have less than 100 percent health, a level whose share of healthy hosts is
below the threshold uses all of its hosts. If all levels panic, load follows the number of hosts.

*Draining hosts* take no requests but in panic, and are not among the hosts that health is a share of.

Cost: O(levels), when health changes.
Source: Envoy 1.40, ``LoadBalancerBase``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from balancekit._support import validation as valid
from balancekit._support.arguments import checked_arguments

__all__ = ["Distribution", "distribute"]


class Distribution(NamedTuple):
    """What each level takes."""

    loads: tuple[int, ...]
    """Percent of the requests for its healthy hosts, or for all of them in panic."""
    panic: tuple[bool, ...]
    """Whether the level ignores health."""
    degraded: tuple[int, ...] = ()
    """Percent of the requests for its degraded hosts; with ``loads`` together 100."""

    @checked_arguments
    def level(self, position: int) -> int:
        """Return the level that serves a request, by its hash or a random number."""
        return self.place(position)[0]

    def place(self, position: int) -> tuple[int, bool]:
        """Return the level that serves a request, and whether its degraded hosts do."""
        left = valid.integer("position", position, minimum=0) % 100 + 1
        for degraded, loads in ((False, self.loads), (True, self.degraded)):
            for level, load in enumerate(loads):
                left -= load
                if left <= 0:
                    return level, degraded
        raise AssertionError(self)


@checked_arguments
def distribute(
    hosts: Sequence[int],
    healthy: Sequence[int],
    *,
    factor: int,
    threshold: int,
    degraded: Sequence[int] = (),
    draining: Sequence[int] = (),
) -> Distribution:
    """Return the distribution over levels with that many hosts, of which so many are healthy or degraded.

    Parameters
    ----------
    hosts, healthy, degraded, draining
        One number per level; at least one host somewhere. No ``degraded`` and no ``draining`` means none.
    factor
        Overprovisioning in percent.
    threshold
        Panic threshold in percent; 0 for never.

    Example
    -------
    >>> distribute([4, 4, 4], [1, 2, 4], factor=140, threshold=50).loads
    (35, 65, 0)
    """
    limping = degraded or [0] * len(hosts)
    counted = [total - some for total, some in zip(hosts, draining or [0] * len(hosts), strict=True)]
    health, weakness = (
        [
            min(100, factor * some // total) if total else 0
            for some, total in zip(counts, counted, strict=True)
        ]
        for counts in (healthy, limping)
    )
    whole = min(100, sum(health) + sum(weakness))
    nothing = (0,) * len(hosts)
    # None is healthy and panic is off: the first level answers that it has none.
    if whole == 0 and threshold == 0:
        return Distribution((100, *nothing[1:]), (False,) * len(hosts), nothing)
    panic = tuple(
        whole < 100 and 100 * (good + fair) < threshold * max(total, 1)
        for good, fair, total in zip(healthy, limping, counted, strict=True)
    )
    if all(panic):
        return Distribution(_by_size(hosts), panic, nothing)
    loads, left = _handed_out([100 * level // whole for level in health], 100)
    weak_loads, left = _handed_out([100 * level // whole for level in weakness], left)
    rest = loads if any(health) else weak_loads
    rest[next(level for level, some in enumerate(health if any(health) else weakness) if some)] += left
    return Distribution(tuple(loads), panic, tuple(weak_loads))


def _by_size(hosts: Sequence[int]) -> tuple[int, ...]:
    """Hand out 100 by the number of hosts; the rest of rounding goes to the first level that has any."""
    loads, left = _handed_out([100 * total // sum(hosts) for total in hosts], 100)
    loads[next(level for level, there in enumerate(hosts) if there)] += left
    return tuple(loads)


def _handed_out(wishes: Sequence[int], left: int) -> tuple[list[int], int]:
    """Hand out what is left in order; return it, and what no level claimed."""
    loads = []
    for wish in wishes:
        loads.append(min(left, wish))
        left -= loads[-1]
    return loads, left
