"""The three locks of a balancer, and what may run under each.

=============  ==============================================================  ===================================
lock           guards                                                          what may run under it
=============  ==============================================================  ===================================
``writer``     the swap of the one reference that readers read, the counts     a comparison, an assignment, a
               of failed and refused requests, and whose turn it is to notify  count: O(1), no foreign code, no
               the health machines (``turn.py``)                               I/O
``serial``     a selector of the user that is not ``thread_safe``              that selector's own hooks, nothing
                                                                               else
``listeners``  the tuples of listeners and observers                           building a new tuple
=============  ==============================================================  ===================================

Order: none is ever taken while another is held, but ``writer`` under ``serial`` when a selector of the user calls
the balancer. All are re-entrant, because a finalizer may call the balancer in the middle of any allocation.

Everything else that users write runs under no lock at all: listeners, observers, outlier rules, exhaustion policies,
loads, health policies, clocks, ``prepare``, ``picker`` and ``learn`` of a thread-safe selector. A change of the pool
is computed from values, and a comparison under ``writer`` decides whether it still fits; if not, it is computed
again (``docs/decisions/0101``).
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import final

from balancekit._support.fork import new_lock, owned

__all__ = ["EngineLocks"]


@final
class EngineLocks:
    """The locks of one balancer. New in a forked child."""

    __slots__ = ("listeners", "serial", "writer")

    def __init__(self) -> None:
        self.writer: AbstractContextManager[object] = new_lock()
        self.serial: AbstractContextManager[object] = new_lock()
        self.listeners: AbstractContextManager[object] = new_lock()

    def held(self) -> tuple[str, ...]:
        """Return the names of the locks that the calling thread holds."""
        return tuple([name for name in self.__slots__ if owned(getattr(self, name))])

    def check_free(self) -> None:
        """Raise if the calling thread holds a lock that user code must not run under.

        Called before each hook of a balancer that was made with ``debug=True``.

        Raises
        ------
        AssertionError
            Naming the locks. That is a mistake in the library.
        """
        held = self.held()
        if held:
            raise AssertionError(f"user code would run under {', '.join(held)}")
