"""The three locks of a balancer, and what may run under each.

=============  ==============================================================  ===================================
lock           guards                                                          what may run under it
=============  ==============================================================  ===================================
``writer``     the swap of the one reference that readers read, the counts     a comparison, an assignment, a
               of failed and refused requests, and the owner of the turn to    count: O(1), no user code, no
               call the health machines (``turn.py``)                          I/O
``serial``     a selector that is not ``thread_safe``                          that selector's own hooks, nothing
                                                                               else
``listeners``  the tuples of listeners and observers                           building a new tuple
=============  ==============================================================  ===================================

Order: no lock is taken while another is held. The one exception is ``writer`` under ``serial``, when a selector calls the
balancer. All locks are re-entrant, because a finalizer may call the balancer during any allocation.

All other user code runs under no lock: listeners, observers, outlier rules, exhaustion policies, loads, health policies,
clocks, and ``prepare``, ``picker`` and ``learn`` of a thread-safe selector. A change of the pool is computed from values.
A comparison under ``writer`` decides whether those values are still the present ones. If not, the change is computed
again (``docs/decisions/0101``).
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import final

from balancekit._support.fork import new_lock, owned

__all__ = ["EngineLocks"]


@final
class EngineLocks:
    """The locks of one balancer. A forked child gets new ones."""

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
            If a lock is held; the message names it. This is a bug in the library.
        """
        held = self.held()
        if held:
            raise AssertionError(f"user code would run under {', '.join(held)}")
