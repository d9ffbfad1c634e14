"""Tools for tests of balancers, and of selectors, loads and health policies of your own.

=====================================  =========================================================================
:class:`ManualClock`                   a clock whose time passes only when the test advances it
:func:`check_selector`                 check a selector against the laws of ``balancekit.testing.laws``
:func:`check_load`                     check a load policy against the laws of loads
:func:`check_health`                   check a health policy against the laws of health policies
:func:`check_balancer`                 check the counts of a balancer under random sequences of operations
:func:`make_snapshot` and the like     factories of the inputs of a selector
:func:`chi_square_z`, :func:`share_z`  distance of counts from expected shares, in standard deviations
=====================================  =========================================================================

``balancekit.testing.server`` has HTTP servers that fail on request. ``balancekit.testing.strategies`` has Hypothesis
strategies. ``balancekit.testing.plugin`` has pytest fixtures, which pytest finds by itself. ``check_selector``,
``check_balancer``, the servers and the strategies need the extra ``testing`` (Hypothesis, aiohttp).
"""

from __future__ import annotations

from balancekit._support.lazy import lazily

TYPE_CHECKING = False
if TYPE_CHECKING:
    from balancekit.testing._broken import LawBroken
    from balancekit.testing._check import check_selector
    from balancekit.testing._check_balancer import check_balancer
    from balancekit.testing._check_health import check_health
    from balancekit.testing._check_load import check_load
    from balancekit.testing._clock import ManualClock
    from balancekit.testing._factories import make_context, make_nodes, make_snapshot
    from balancekit.testing._machine import SITUATIONS, BalancerMachine
    from balancekit.testing._statistics import Z, chi_square_z, share_z

__all__ = [
    "SITUATIONS",
    "BalancerMachine",
    "LawBroken",
    "ManualClock",
    "Z",
    "check_balancer",
    "check_health",
    "check_load",
    "check_selector",
    "chi_square_z",
    "make_context",
    "make_nodes",
    "make_snapshot",
    "share_z",
]

if not TYPE_CHECKING:  # type checkers read the imports above, and know no other names
    __getattr__ = lazily(
        __name__,
        {
            "_broken": ("LawBroken",),
            "_check": ("check_selector",),
            "_check_balancer": ("check_balancer",),
            "_check_health": ("check_health",),
            "_check_load": ("check_load",),
            "_clock": ("ManualClock",),
            "_factories": ("make_context", "make_nodes", "make_snapshot"),
            "_statistics": ("Z", "chi_square_z", "share_z"),
            "_machine": ("SITUATIONS", "BalancerMachine"),
        },
    )


def __dir__() -> list[str]:
    return list(__all__)
