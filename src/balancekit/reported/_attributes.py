"""Figures of endpoints that are found from outside: requests waiting, cache in use, temperature.

Code that finds them records them, by endpoint and name; loads and selectors read them. The last figure of an endpoint
holds for ``max_age`` seconds. A page that cannot be read for a moment changes nothing, and one that stays away makes its
endpoint unknown, not busy: that a figure is missing says nothing of the endpoint.

Cost: O(1).
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final, final
from weakref import WeakMethod

from balancekit._support import validation as valid
from balancekit._support.arguments import checked_arguments, refuse
from balancekit._support.display import ConstructorRepr
from balancekit._support.log import log_change
from balancekit.errors import ConfigurationError

__all__ = ["NodeAttributes"]

NO_FIGURES: Final[Mapping[str, float]] = MappingProxyType({})
Observer = Callable[[str, float], None]


@final
class NodeAttributes(ConstructorRepr):
    """The latest figures of endpoints, by id and name. Any thread may call; reading takes no lock.

    Parameters
    ----------
    max_age
        Seconds for which a figure holds, > 0: three periods of the probes that find it.

    *Guarantee.* A figure that no server can mean (NaN, infinite) is ignored and counted, and the figure before stays.

    Example
    -------
    >>> attributes = NodeAttributes(max_age=3.0)
    >>> attributes.record("10.0.0.1:8000", {"waiting": 4.0}, now=0.0)
    >>> attributes.value("10.0.0.1:8000", "waiting", now=2.0)
    4.0
    >>> attributes.value("10.0.0.1:8000", "waiting", now=3.5) is None
    True
    """

    __slots__ = ("_latest", "_observers", "max_age", "rejected")

    @checked_arguments
    def __init__(self, *, max_age: float = 3.0) -> None:
        self.max_age: float = valid.seconds("max_age", max_age, above=0.0)
        self.rejected: int = 0
        """How many figures were ignored."""
        self._latest: dict[str, tuple[float, Mapping[str, float]]] = {}
        self._observers: list[WeakMethod[Observer]] = []

    @checked_arguments
    def record(self, endpoint: str, figures: Mapping[str, float], *, now: float) -> None:
        """Take the figures of an endpoint, by name, as of ``now``; they replace those before.

        A clock reading before the last one of the endpoint replaces it too: a clock that was set back is believed.
        """
        at = valid.number("now", now)
        held = dict(self._latest.get(endpoint, (0.0, NO_FIGURES))[1])
        kept = {}
        for name, figure in figures.items():
            if isinstance(figure, int | float) and math.isfinite(figure):
                kept[name] = float(figure)
                continue
            self.rejected += 1
            if name in held:
                kept[name] = held[name]
            if self.rejected == 1:
                log_change(
                    "the attribute %s of %s is no number: ignored, later ones are only counted",
                    name,
                    endpoint,
                    bad=True,
                )
        self._latest[endpoint] = (at, MappingProxyType(kept))
        for observer in tuple(self._observers):
            call = observer()
            if call is None:
                with contextlib.suppress(ValueError):  # another thread was first
                    self._observers.remove(observer)
            else:
                call(endpoint, at)

    @checked_arguments
    def figures(self, endpoint: str, *, now: float) -> Mapping[str, float]:
        """Return the figures of an endpoint that hold at ``now``, by name; empty if there are none."""
        at, figures = self._latest.get(endpoint, (-math.inf, NO_FIGURES))
        return figures if abs(now - at) <= self.max_age else NO_FIGURES

    def value(self, endpoint: str, name: str, *, now: float) -> float | None:
        """Return one figure of an endpoint; ``None`` if it is not known or too old."""
        try:
            if now.__class__ is not float or now - now != 0.0:
                now = valid.number("now", now)
            at, figures = self._latest.get(endpoint, (-math.inf, NO_FIGURES))
            return figures.get(name) if abs(now - at) <= self.max_age else None
        except Exception as error:
            refuse(error, NodeAttributes.value, self, endpoint, name, now=now)

    @checked_arguments
    def forget(self, endpoint: str) -> None:
        """Forget an endpoint; does nothing if it is not known."""
        self._latest.pop(endpoint, None)

    def observe(self, method: Observer) -> None:
        """Call a bound method with id and time after each record, while its object lives."""
        try:
            self._observers.append(WeakMethod(method))
        except TypeError as error:
            raise ConfigurationError("method", method, "a bound method") from error
