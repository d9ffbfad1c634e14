"""The guard around calls of user code: an exception is logged, and the request or change continues.

So a hook that raises can neither lose the answer of a request nor stop the balancer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeVar, final

from balancekit._support.log import contain_error
from balancekit.engine.locks import EngineLocks
from balancekit.events import Event

__all__ = ["Guard"]

D = TypeVar("D")


@final
class Guard:
    """The caller of user code. It logs exceptions and, in debug mode, checks first that no engine lock is held.

    Parameters
    ----------
    locks
        The locks of the balancer.
    debug
        Whether to check the locks.
    """

    __slots__ = ("_debug", "_locks")

    def __init__(self, locks: EngineLocks, *, debug: bool) -> None:
        self._locks = locks
        self._debug = debug

    def check(self) -> None:
        """Raise ``AssertionError`` in debug mode if the calling thread holds an engine lock."""
        if self._debug:
            self._locks.check_free()

    def call(self, what: str, hook: Callable[..., D], *arguments: object, default: D, **named: object) -> D:
        """Return what a hook returns, or ``default`` if it raises."""
        self.check()
        try:
            return hook(*arguments, **named)
        except Exception:
            contain_error("%s %r failed", what, getattr(hook, "__self__", hook))
            return default

    def events(
        self, what: str, hook: Callable[..., Iterable[Event]], *arguments: object, now: float
    ) -> list[Event]:
        """Return the events that a health machine returns, or none if it raises."""
        self.check()
        try:
            return list(hook(*arguments, now=now))
        except Exception:
            contain_error("%s %r failed", what, getattr(hook, "__self__", hook))
            return []
