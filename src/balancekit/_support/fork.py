"""Locks and state that are renewed in a forked child.

If another thread holds a lock at the moment of a fork, the lock stays held in the child forever, because that thread
does not exist there. So every lock of the library is made by :func:`new_lock`. In a child, all these locks are renewed
before any other code runs. The exception is a lock that the forking thread itself holds: this thread continues in the
child and releases it. An object with other state to correct registers itself with :func:`call_in_child`.

All locks are re-entrant. A signal handler or a finalizer may run at any point of a thread, and so while the thread
holds a lock. With a plain lock, a handler that drains an endpoint would wait for its own thread. The same holds for an
object that releases a lease when it is garbage-collected.

Cost: about a microsecond to create a lock; nothing when it is used. Both registries hold weak references.

Source: CPython's own modules (``threading``, ``logging``, ``concurrent.futures``) renew their locks the same way.
"""

from __future__ import annotations

import _thread
import os
import sys
import threading
import weakref
from collections.abc import Callable
from contextlib import AbstractContextManager
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final, NoReturn, Protocol

__all__ = [
    "ThreadLocal",
    "call_in_child",
    "call_last_in_child",
    "new_condition",
    "new_lock",
    "owned",
    "renew_in_child",
    "this_thread",
]


class ThreadLocal(threading.local):
    """State that each thread has for itself, for modules that may not import ``threading``. A fork keeps it."""


class StartsOver(Protocol):
    """An object with state that must be corrected in a forked child."""

    def after_fork(self) -> None:
        """Correct the state. Called in the child after all locks are renewed, while no other thread runs."""
        ...


_LAST: Final[list[Callable[[], object]]] = []
"""What :func:`call_last_in_child` has been given in this child."""
_LOCKS: Final[weakref.WeakSet[Any]] = weakref.WeakSet()
_OWNERS: Final[weakref.WeakSet[StartsOver]] = weakref.WeakSet()


class _Lock(_thread.RLock):  # type: ignore[misc]  # final for type checkers only
    """A re-entrant lock. Copying or pickling an object that has one raises an error with advice."""

    __slots__ = ()

    def __reduce_ex__(self, protocol: object, /) -> NoReturn:
        raise TypeError(
            "an object of balancekit that holds a lock cannot be copied or pickled: "
            "construct another one from the same arguments, in each process"
        )


def new_lock() -> AbstractContextManager[object]:
    """Return a re-entrant lock. In a forked child it is free, unless the forking thread holds it."""
    lock: AbstractContextManager[object] = _Lock()
    _LOCKS.add(lock)
    return lock


def renew_in_child(lock: AbstractContextManager[object]) -> None:
    """Register a lock to be renewed in a forked child like those of :func:`new_lock`. Only an ``RLock`` is registered."""
    if isinstance(lock, _thread.RLock):
        _LOCKS.add(lock)


class _Condition(threading.Condition):
    """A condition whose ``with`` statement calls the methods of its lock directly.

    A Python method in between could be interrupted by a signal after the lock is taken, and would leave it locked.
    """

    if not TYPE_CHECKING:  # for type checkers they are the methods of the base class
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
    """Return whether the calling thread holds a re-entrant lock; false for a lock of another class."""
    if not isinstance(lock, _thread.RLock):
        return False
    held: bool = lock._is_owned()  # type: ignore[attr-defined]  # noqa: SLF001 - the only way to check
    return held


def call_in_child(owner: StartsOver) -> None:
    """Call ``owner.after_fork()`` in every forked child, for as long as the owner lives."""
    _OWNERS.add(owner)


def call_last_in_child(function: Callable[[], object]) -> None:
    """Call a function in this forked child after the other modules have renewed their locks. Called from ``after_fork`` only.

    Start threads there: a thread that waits for a lock of ``logging`` while ``logging`` renews it would wait for ever.
    """
    _LAST.append(function)


def _after_fork() -> None:
    for lock in list(_LOCKS):
        if not owned(lock):  # the forking thread may hold one: it forks in a hook or a signal handler
            lock._at_fork_reinit()  # noqa: SLF001 - what the standard library does with its own
    errors: list[BaseException] = []
    for owner in list(_OWNERS):
        try:
            owner.after_fork()
        except BaseException as error:  # for example from a signal handler; the other owners are called first
            errors.append(error)
    if errors:
        raise errors[0]


class _LastHook:
    """A hook that the interpreter calls after those of all modules that were imported before the fork.

    Hooks are called in the order of their registration and cannot be removed. So the hook is registered again before a fork
    if modules were imported meanwhile, and only the latest registration counts.
    """

    def __init__(self) -> None:
        self._modules = 0
        self._latest: object = None

    def before_fork(self) -> None:
        """Become the last hook."""
        if len(sys.modules) != self._modules:
            self._modules = len(sys.modules)
            latest = self._latest = object()
            os.register_at_fork(after_in_child=lambda: self._after_fork(latest))

    def _after_fork(self, registration: object) -> None:
        if registration is self._latest:
            functions, _LAST[:] = list(_LAST), []
            for function in functions:
                function()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_LastHook().before_fork, after_in_child=_after_fork)
