"""The ``[balancer]`` table: selector, routing, load, health and exhaustion as one recipe for balancers.

A recipe creates any number of balancers, each with a selector of its own. All keys are checked when the recipe is created.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from random import Random
from typing import Any, Final, final

from balancekit import routing
from balancekit._support import tables
from balancekit._support import validation as valid
from balancekit._support.arguments import checked_arguments
from balancekit._support.display import ConstructorRepr
from balancekit.balancer import LoadBalancer
from balancekit.config import _vocabulary as vocabulary
from balancekit.endpoint import Endpoint
from balancekit.errors import ConfigurationError
from balancekit.health import START_STATES, Health, Lifecycle
from balancekit.protocols import Clock, Selector

__all__ = ["BALANCER_WORDS", "Recipe", "recipe"]

BALANCER_WORDS: Final = ("selector", "options", "load", "health", "exhaustion", "on_missing_key", "routing")


@final
class Recipe(ConstructorRepr):
    """A recipe for balancers of the same kind.

    Parameters
    ----------
    selector
        The factory of the selector, or ``None`` for the default.
    options
        Other keyword arguments of ``LoadBalancer``.
    """

    __slots__ = ("_options", "_selector")

    @checked_arguments
    def __init__(self, selector: Callable[[], Selector] | None, options: Mapping[str, Any]) -> None:
        self._selector = selector
        self._options = dict(options)

    def make(
        self,
        endpoints: Sequence[Endpoint[Any]],
        *,
        clock: Clock | None = None,
        rng: Random | None = None,
        allow_empty: bool = False,
    ) -> LoadBalancer[Any]:
        """Return a new balancer over some endpoints."""
        selector = None if self._selector is None else self._selector()
        options = self._options if clock is None else {**self._options, "clock": clock}
        return LoadBalancer(endpoints, selector=selector, rng=rng, allow_empty=allow_empty, **options)


@checked_arguments
def recipe(where: str, value: object, *, environ: Mapping[str, str] | None = None) -> Recipe:
    """Read a balancer's table.

    Parameters
    ----------
    where
        Its place in the file, for errors.
    value
        The table.
    environ
        The environment variables with the secrets of ``Sticky``; the file names them.

    Raises
    ------
    ConfigurationError
        For an unknown key or a value outside its range.

    Example
    -------
    >>> from balancekit import Endpoint
    >>> from balancekit.config import recipe
    >>> recipe("balancer", {"selector": "RingHash"}).make([Endpoint("a")])
    <LoadBalancer of 1 endpoint by RingHash()>
    """
    facts = tables.table(where, value)
    selector = _selector(where, facts.pop("selector", None), facts.pop("options", {}))
    routers = facts.pop("routing", [])
    options: dict[str, Any] = {"health": _health(f"{where}.health", facts.pop("health", True))}
    for word, kinds in (("load", vocabulary.LOADS), ("exhaustion", vocabulary.EXHAUSTION)):
        if word in facts:
            options[word] = _named(f"{where}.{word}", facts.pop(word), kinds)
    if "on_missing_key" in facts:
        options["on_missing_key"] = facts.pop("on_missing_key")
    tables.reject_unknown(where, facts, BALANCER_WORDS)
    found = Recipe(_routed(f"{where}.routing", routers, selector, environ or {}), options)
    found.make([Endpoint("any")])  # raises now for anything that is invalid
    return found


def _selector(where: str, name: object, options: object) -> Callable[[], Selector] | None:
    """Return a factory of the selector, or ``None`` for the default."""
    given = tables.table(f"{where}.options", options)
    if name is None:
        tables.reject_unknown(f"{where}.options", given, ())
        return None
    kind, known = vocabulary.SELECTORS[tables.choice(f"{where}.selector", name, vocabulary.SELECTORS)]
    made = tables.call(f"{where}.options", lambda **values: (kind(**values), values)[1], given, known)
    return lambda: kind(**made)


def _routed(
    where: str, value: object, selector: Callable[[], Selector] | None, environ: Mapping[str, str]
) -> Callable[[], Selector] | None:
    """Wrap the selector into routers, the first one outermost."""
    if not isinstance(value, Sequence) or isinstance(value, str):
        raise ConfigurationError(where, value, "tables, each with a kind, the outermost first")
    child = selector
    for place in range(len(value) - 1, -1, -1):
        at = f"{where}[{place}]"
        child = _router(at, tables.table(at, value[place]), child, environ)
    return child


def _router(
    where: str, options: dict[str, Any], child: Callable[[], Selector] | None, environ: Mapping[str, str]
) -> Callable[[], Selector]:
    """Return a factory of one router around its child."""
    name = tables.choice(f"{where}.kind", options.pop("kind", None), vocabulary.ROUTERS)
    kind, known = vocabulary.ROUTERS[name]

    def make(**values: Any) -> Any:
        if name == "Sticky":
            values = {"values": _sticky_values(where, values, environ), **_without(values, "pool", "secrets")}
        if name == "BoundedLoad":
            return kind(None if child is None else child(), **values)
        return kind(**values) if child is None else kind(child=child, **values)

    tables.call(where, make, options, known)
    return lambda: tables.call(where, make, options, known)


def _sticky_values(where: str, values: Mapping[str, Any], environ: Mapping[str, str]) -> routing.StickyValues:
    """Return the signer of sticky values; the file names the variables with the secrets, newest first."""
    names = values.get("secrets")
    if not isinstance(names, Sequence) or isinstance(names, str) or not names:
        raise ConfigurationError("secrets", names, "names of environment variables, the newest secret first")
    missing = [name for name in names if name not in environ]
    if missing:
        raise ConfigurationError("secrets", missing[0], "names of environment variables that are set")
    return routing.StickyValues(values.get("pool", ""), [environ[name].encode() for name in names])


def _without(values: Mapping[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in values.items() if name not in names}


def _named(where: str, value: object, kinds: tables.Kinds) -> Any:
    """Create an object from its name, or from a table with its ``kind``."""
    return tables.make(where, {"kind": value} if isinstance(value, str) else value, kinds)


def _health(where: str, value: object) -> Lifecycle | None:
    """Return a policy: the default for ``true``, none for ``false``, or the one of a table."""
    if isinstance(value, bool):
        return Lifecycle() if value else None
    given = tables.table(where, value)
    parts: dict[str, Any] = {}
    for name, (kind, known) in vocabulary.HEALTH.items():
        if name in given:
            at = f"{where}.{name}"
            parts[name] = tables.call(at, kind, tables.table(at, given.pop(name)), known)
    if "success_rate" in parts:
        parts["rules"] = (parts.pop("success_rate"),)
    if "sweep" in given:
        parts["sweep"] = valid.number(f"{where}.sweep", given.pop("sweep"), above=0.0)
    if "start" in given:
        parts["start"] = Health(tables.choice(f"{where}.start", given.pop("start"), sorted(START_STATES)))
    tables.reject_unknown(where, given, (*vocabulary.HEALTH, "sweep", "start"))
    return Lifecycle(**parts)
