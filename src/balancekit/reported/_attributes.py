"""Figures of endpoints from outside sources: waiting requests, cache utilization, temperature.

Probes record figures by endpoint and name; loads and selectors read them. The last figure of an endpoint is valid for
``max_age`` seconds. A page that cannot be read for a moment changes nothing. If it stays unreadable, its endpoint becomes
unknown, not busy, because a missing figure is no evidence of load.

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
        Seconds for which a figure is valid, > 0; set it to three periods of the probes.

    Raises
    ------
    ConfigurationError
        If ``max_age`` is not > 0.

    *Guarantee.* An impossible figure (NaN, infinite) is ignored and counted, and the figure before it stays.

    Example
    -------
    >>> from balancekit.reported import NodeAttributes
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
        """The number of ignored figures."""
        self._latest: dict[str, tuple[float, Mapping[str, float]]] = {}
        self._observers: list[WeakMethod[Observer]] = []

    @checked_arguments
    def record(self, endpoint: str, figures: Mapping[str, float], *, now: float) -> None:
        """Record the figures of an endpoint, by name, as of ``now``; they replace the earlier ones.

        Figures with an earlier time than the last ones replace them too, because a clock may have been set back.
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
        """Return the figures of an endpoint that are valid at ``now``, by name; empty if there are none."""
        at, figures = self._latest.get(endpoint, (-math.inf, NO_FIGURES))
        return figures if abs(now - at) <= self.max_age else NO_FIGURES

    def value(self, endpoint: str, name: str, *, now: float) -> float | None:
        """Return one figure of an endpoint; ``None`` if it is unknown or too old."""
        try:
            if now.__class__ is not float or now - now != 0.0:
                now = valid.number("now", now)
            at, figures = self._latest.get(endpoint, (-math.inf, NO_FIGURES))
            return figures.get(name) if abs(now - at) <= self.max_age else None
        except Exception as error:
            refuse(error, NodeAttributes.value, self, endpoint, name, now=now)

    @checked_arguments
    def forget(self, endpoint: str) -> None:
        """Drop the figures of an endpoint; does nothing if there are none."""
        self._latest.pop(endpoint, None)

    def observe(self, method: Observer) -> None:
        """Call a bound method with id and time after each record, for as long as its object exists."""
        try:
            self._observers.append(WeakMethod(method))
        except TypeError as error:
            raise ConfigurationError("method", method, "a bound method") from error
