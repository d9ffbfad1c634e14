"""Shared dependencies: a failure that most endpoints report is held against none of them.

A deep check that fails on a *shared* dependency would take out the whole pool, and with it everything that
works without that dependency. So failing dependencies are compared: one that fails on more than ``share`` of
the endpoints that answered is shared, and failing it does not count against any endpoint. The pool is degraded.

The first endpoints that notice cannot know yet; their check fails. With ``fall`` of two or more the others
have been checked before any endpoint is ejected.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import final

from balancekit._support import validation as valid
from balancekit._support.display import ConstructorRepr
from balancekit.checks._result import ProbeResult

__all__ = ["SharedDependencies"]


@final
class SharedDependencies(ConstructorRepr):
    """What endpoints last said about their dependencies.

    Parameters
    ----------
    share
        More than this share of those that answered must fail it for a dependency to be shared, in [0, 1]; with 1 none is.

    Example
    -------
    >>> shared = SharedDependencies()
    >>> down = ProbeResult(passed=False, failing=("db",))
    >>> [shared.judge(id, down) for id in ("a", "b", "c")][-1]
    (True, ('db',))
    """

    def __init__(self, share: float = 0.5) -> None:
        self._share = valid.number("share", share, minimum=0.0, maximum=1.0)
        self._failing: dict[str, tuple[str, ...]] = {}

    def keep(self, ids: Iterable[str]) -> None:
        """Forget all endpoints but these."""
        wanted = set(ids)
        self._failing = {id: names for id, names in self._failing.items() if id in wanted}

    def judge(self, id: str, result: ProbeResult) -> tuple[bool, tuple[str, ...]]:
        """Return whether the check counts as passed, and which of its failures are shared."""
        if not result.answered:
            self._failing.pop(id, None)
            return False, ()
        self._failing[id] = result.failing
        shared = self.shared()
        degraded = tuple([name for name in result.failing if name in shared])
        own = [name for name in result.failing if name not in shared]
        return result.passed or (bool(degraded) and not own), degraded

    def shared(self) -> frozenset[str]:
        """Return the dependencies that fail on most endpoints, two at least."""
        counts = Counter([name for names in self._failing.values() for name in names])
        most = max(1.0, self._share * len(self._failing))
        return frozenset([name for name, count in counts.items() if count > most])
