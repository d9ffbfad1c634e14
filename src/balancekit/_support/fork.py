"""Locks and owners of state that start over in a forked child.

A lock that another thread holds at the moment of a fork stays held in the child for ever: the thread that would
release it is not there. Every lock of the library is made by :func:`new_lock`, and all of them are new in a
child before any of its code runs, but for those that the forking thread itself holds: it goes on, and releases them.
Objects with more to put right register themselves with :func:`call_in_child`.

All locks are re-entrant. A signal handler and a finalizer run in the middle of whatever their thread does, also while
it holds a lock; a handler that drains an endpoint, or an object that releases a lease when it is collected, would wait
for its own thread.

Cost: about a microsecond for each lock made; nothing when it is used. Both registries hold weak references.

Source: CPython's own modules (``threading``, ``logging``, ``concurrent.futures``) renew their locks the same way.
"""

from __future__ import annotations

import _thread
import os
import threading
import weakref
from contextlib import AbstractContextManager
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final, NoReturn, Protocol

__all__ = [
    "ThreadLocal",
    "call_in_child",
    "new_condition",
    "new_lock",
    "owned",
    "renew_in_child",
    "this_thread",
]


class ThreadLocal(threading.local):
    """State of each thread, for layers that import no threads. In a child, the forking thread finds its own again."""


class StartsOver(Protocol):
    """An object with state that is wrong in a forked child."""

    def after_fork(self) -> None:
        """Put the state right. Called in the child, after every lock is new, with no other thread running."""
        ...


_LOCKS: Final[weakref.WeakSet[Any]] = weakref.WeakSet()
_OWNERS: Final[weakref.WeakSet[StartsOver]] = weakref.WeakSet()


class _Lock(_thread.RLock):  # type: ignore[misc]  # final for type checkers only
    """A re-entrant lock whose owner learns, when it is copied or pickled, what to do instead."""

    __slots__ = ()

    def __reduce_ex__(self, protocol: object, /) -> NoReturn:
        raise TypeError(
            "an object of balancekit that holds a lock cannot be copied or pickled: "
            "construct another, in each process, from the same arguments"
        )


def new_lock() -> AbstractContextManager[object]:
    """Return a re-entrant lock that is free in a forked child, whichever other thread holds it in the parent."""
    lock: AbstractContextManager[object] = _Lock()
    _LOCKS.add(lock)
    return lock


def renew_in_child(lock: AbstractContextManager[object]) -> None:
    """Have a lock that was given be free in a forked child, as one of :func:`new_lock` is, if it is an ``RLock``."""
    if isinstance(lock, _thread.RLock):
        _LOCKS.add(lock)


class _Condition(threading.Condition):
    """A condition whose ``with`` block begins without a call.

    A signal between the lock and the block would leave it locked.
    """

    if not TYPE_CHECKING:  # type checkers know that they are methods
        __enter__: Any = property(attrgetter("_lock.__enter__"))
        __exit__: Any = property(attrgetter("_lock.__exit__"))


def new_condition() -> threading.Condition:
    """Return a condition variable whose lock is free in a forked child."""
    lock = _Lock()
    _LOCKS.add(lock)
    return _Condition(lock)


def this_thread() -> int:
    """Return the identity of the calling thread, never 0."""
    return threading.get_ident()


def owned(lock: AbstractContextManager[object]) -> bool:
    """Return whether the calling thread holds a re-entrant lock; one of another kind it does not."""
    if not isinstance(lock, _thread.RLock):
        return False
    held: bool = lock._is_owned()  # type: ignore[attr-defined]  # noqa: SLF001 - the only way to check
    return held


def call_in_child(owner: StartsOver) -> None:
    """Call ``owner.after_fork()`` in every forked child, for as long as the owner lives."""
    _OWNERS.add(owner)


def _after_fork() -> None:
    for lock in list(_LOCKS):
        if not owned(lock):  # held by the thread that forks: a hook under a lock, or a signal handler
            lock._at_fork_reinit()  # noqa: SLF001 - what the standard library does with its own
    errors: list[BaseException] = []
    for owner in list(_OWNERS):
        try:
            owner.after_fork()
        except BaseException as error:  # as that of a signal handler: the other owners are not to pay for it
            errors.append(error)
    if errors:
        raise errors[0]


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
