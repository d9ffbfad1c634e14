"""Envoy's priority levels and panic mode.

*Example.* Three levels have four hosts each, of which 1, 2 and 4 are healthy. The overprovisioning factor is 140. The health of a
level in percent is ``140 * healthy // hosts``, at most 100: here 35, 70 and 100. The sum is more than 100, so levels get load in
their order until 100 percent are reached: 35, then 65 of the 70, then 0. If the sum were less than 100, each level would get its
share of the sum, and the rounding difference would go to the first level with health above 0.

*Degraded hosts* get the load that the healthy hosts of all levels leave over, by the same rule.

*Panic mode.* If the health of all levels together is below 100 percent, a level whose share of healthy hosts is below the threshold
uses all of its hosts. If all levels are in panic mode, load is in proportion to the number of hosts.

*Draining hosts* get requests only in panic mode. They are not counted as hosts when health is computed.

Cost: O(levels) when health changes.
Source: Envoy 1.40, ``LoadBalancerBase``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from balancekit._support import validation as valid
from balancekit._support.arguments import checked_arguments

__all__ = ["Distribution", "distribute"]


class Distribution(NamedTuple):
    """The loads of the priority levels."""

    loads: tuple[int, ...]
    """Percent of the requests for the healthy hosts of each level, or for all of its hosts in panic mode."""
    panic: tuple[bool, ...]
    """Whether each level is in panic mode, in which it ignores health."""
    degraded: tuple[int, ...] = ()
    """Percent of the requests for the degraded hosts of each level. The sum with ``loads`` is 100."""

    @checked_arguments
    def level(self, position: int) -> int:
        """Return the level for a request. ``position`` is its hash or a random number, >= 0."""
        return self.place(position)[0]

    def place(self, position: int) -> tuple[int, bool]:
        """Return the level for a request, and whether to use its degraded hosts."""
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
    """Return the loads of priority levels by their numbers of hosts.

    Parameters
    ----------
    hosts
        Number of hosts of each level; at least one level has a host.
    healthy, degraded, draining
        Number of hosts of each level in this state; 0 for all levels if left out.
    factor
        Overprovisioning factor in percent.
    threshold
        Panic threshold in percent; 0 for no panic mode.

    Example
    -------
    >>> from balancekit.compat.envoy import distribute
    >>> distribute([4, 4, 4], [1, 2, 4], factor=140, threshold=50).loads
    (35, 65, 0)
    """
    degraded_hosts = degraded or [0] * len(hosts)
    counted = [total - some for total, some in zip(hosts, draining or [0] * len(hosts), strict=True)]
    health, degraded_health = (
        [
            min(100, factor * some // total) if total else 0
            for some, total in zip(counts, counted, strict=True)
        ]
        for counts in (healthy, degraded_hosts)
    )
    whole = min(100, sum(health) + sum(degraded_health))
    nothing = (0,) * len(hosts)
    # No host is healthy and panic mode is off: all load goes to the first level, which has no host for it.
    if whole == 0 and threshold == 0:
        return Distribution((100, *nothing[1:]), (False,) * len(hosts), nothing)
    panic = tuple(
        whole < 100 and 100 * (good + fair) < threshold * max(total, 1)
        for good, fair, total in zip(healthy, degraded_hosts, counted, strict=True)
    )
    if all(panic):
        return Distribution(_by_size(hosts), panic, nothing)
    loads, left = _allocated([100 * level // whole for level in health], 100)
    degraded_loads, left = _allocated([100 * level // whole for level in degraded_health], left)
    rest = loads if any(health) else degraded_loads
    rest[next(level for level, some in enumerate(health if any(health) else degraded_health) if some)] += left
    return Distribution(tuple(loads), panic, tuple(degraded_loads))


def _by_size(hosts: Sequence[int]) -> tuple[int, ...]:
    """Return loads in proportion to the numbers of hosts. The rounding difference goes to the first level with a host."""
    loads, left = _allocated([100 * total // sum(hosts) for total in hosts], 100)
    loads[next(level for level, there in enumerate(hosts) if there)] += left
    return tuple(loads)


def _allocated(claims: Sequence[int], left: int) -> tuple[list[int], int]:
    """Return the load of each level, which is its claim or what is left, and the load that is left after the last level."""
    loads = []
    for claim in claims:
        loads.append(min(left, claim))
        left -= loads[-1]
    return loads, left
