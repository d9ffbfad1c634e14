"""Shared dependencies: a failure that most endpoints report counts against none of them.

A deep check that fails on a *shared* dependency would eject the whole pool, including everything that
works without that dependency. A dependency is shared if it fails on more than ``share`` of the endpoints that
answered. Its failure then counts against no endpoint; the pool is degraded.

The checks of the first endpoints that report it fail, because the others have not been checked yet. With
``fall`` of two or more, all endpoints have been checked before any is ejected.
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
    """The latest reports of endpoints about their dependencies.

    Parameters
    ----------
    share
        A dependency is shared if it fails on more than this share of the endpoints that answered, in [0, 1]; 1 turns
        sharing off.

    Raises
    ------
    ConfigurationError
        If ``share`` is outside [0, 1].

    Example
    -------
    >>> from balancekit.checks import ProbeResult, SharedDependencies
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
        """Return whether the check counts as passed, and its shared failures."""
        if not result.answered:
            self._failing.pop(id, None)
            return False, ()
        self._failing[id] = result.failing
        shared = self.shared()
        degraded = tuple([name for name in result.failing if name in shared])
        own = [name for name in result.failing if name not in shared]
        return result.passed or (bool(degraded) and not own), degraded

    def shared(self) -> frozenset[str]:
        """Return the dependencies that fail on most endpoints, and on at least two."""
        counts = Counter([name for names in self._failing.values() for name in names])
        most = max(1.0, self._share * len(self._failing))
        return frozenset([name for name, count in counts.items() if count > most])
