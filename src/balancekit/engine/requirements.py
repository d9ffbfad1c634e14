"""The members that selectors, loads and health policies must have.

Without these checks, a missing member would raise an error during a request, and a misspelt hook would never be called.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from typing import Final

from balancekit._support.functions import is_coroutine_function
from balancekit._support.interrupts import raise_interrupt
from balancekit.engine.capabilities import is_shipped
from balancekit.errors import ConfigurationError
from balancekit.node import Load
from balancekit.protocols import HealthPolicy, Selector

__all__ = ["refuse_incomplete", "require_health", "require_load", "require_selector"]

MIN_SIMILARITY: Final = 0.8
"""The similarity, 0 to 1, from which a name is taken for a misspelt hook: the ``cutoff`` of ``difflib``."""

_SELECTOR_HOOKS: Final = (
    "prepare",
    "picker",
    "pickers",
    "keyed",
    "timed",
    "learn",
    "learns_from_successes",
    "refusals",
    "retry_at",
    "thread_safe",
    "default_load",
)
_HEALTH_HOOKS: Final = ("checked", "changing", "on_outlier", "uneject", "ramp", "trial")
_HEALTH_MEMBERS: Final = ("eligible", "state", "watching", "deadline", "observe", "advance")
_LOAD_MEMBERS: Final = ("started", "finished", "value")
_LOAD_HOOKS: Final = ("succeeded", "reset", "needs_start", "needs_end", "start_compared", "answering")


def require_selector(selector: object) -> None:
    """Check a selector.

    Raises
    ------
    ConfigurationError
        If it is a class, has no method ``select``, has a coroutine function as ``select`` or as a
        hook, has a misspelt hook, or has ``picker`` without ``keyed``.
    """
    if isinstance(selector, type):
        raise ConfigurationError("selector", selector, f"an instance: {selector.__name__}()")
    select = getattr(selector, "select", None)
    if not callable(select):
        allowed = "an instance with a method select(snapshot, ctx), such as RoundRobin()"
        raise ConfigurationError("selector", selector, allowed)
    if is_coroutine_function(select):
        allowed = "a plain method select(), not a coroutine function, since picks never wait"
        raise ConfigurationError("selector", selector, allowed)
    if callable(getattr(selector, "picker", None)) and not hasattr(selector, "keyed"):
        allowed = "an attribute keyed beside picker(), which says whether picks hash the key of the request"
        raise ConfigurationError("selector", selector, allowed)
    _refuse_coroutines("selector", selector, _SELECTOR_HOOKS)
    _refuse_misspelt("selector", selector, Selector, _SELECTOR_HOOKS)


def require_load(load: object) -> None:
    """Check a load.

    Raises
    ------
    ConfigurationError
        If it lacks a method, has a coroutine function as a method, or has a misspelt hook.
    """
    refuse_incomplete("load", load, _LOAD_MEMBERS)
    _refuse_coroutines("load", load, (*_LOAD_MEMBERS, *_LOAD_HOOKS))
    _refuse_misspelt("load", load, Load, _LOAD_HOOKS)


def require_health(policy: object) -> None:
    """Check a health machine.

    Raises
    ------
    ConfigurationError
        If it lacks a member, has a coroutine function as a method, or has a misspelt hook.
    """
    refuse_incomplete("health", policy, _HEALTH_MEMBERS)
    _refuse_coroutines("health", policy, (*_HEALTH_MEMBERS, *_HEALTH_HOOKS))
    _refuse_misspelt("health", policy, HealthPolicy, _HEALTH_HOOKS)


def _refuse_coroutines(parameter: str, given: object, names: Sequence[str]) -> None:
    """Raise ``ConfigurationError`` if an object of the user's has a coroutine function as one of these methods."""
    if is_shipped(given):
        return
    scopes = (getattr(given, "__dict__", {}), *map(vars, type(given).__mro__))
    for name in names:
        declared = next((scope[name] for scope in scopes if name in scope), None)
        if is_coroutine_function(declared):
            raise ConfigurationError(
                parameter,
                f"{type(given).__name__}.{name}",
                "a plain method, not a coroutine function, since nothing awaits it",
            )


def _refuse_misspelt(parameter: str, given: object, base: type, hooks: Sequence[str]) -> None:
    """Raise ``ConfigurationError`` if a subclass of a shipped protocol has a public name that resembles a hook's name."""
    kind = type(given)
    if base not in kind.__mro__:
        return
    known = {*hooks, *dir(base)}
    for name in dir(kind):
        if name.startswith("_") or name in known:
            continue
        for meant in difflib.get_close_matches(name, hooks, n=1, cutoff=MIN_SIMILARITY):
            raise ConfigurationError(
                parameter, f"{kind.__name__}.{name}", f"a hook's name: did you mean {meant!r}?"
            )


def refuse_incomplete(parameter: str, given: object, members: Sequence[str]) -> None:
    """Raise ``ConfigurationError`` if an object of the user lacks a member of its protocol."""
    if is_shipped(given):
        return
    missing = [name for name in members if not _has(given, name)]
    if missing:
        raise ConfigurationError(
            parameter, given, f"an object with {', '.join(members)}; missing: {', '.join(missing)}"
        )


def _has(given: object, name: str) -> bool:
    """Return whether an object has a member. A property that raises counts as present."""
    if any(name in vars(kind) for kind in type(given).__mro__):
        return True
    try:
        return hasattr(given, name)
    except Exception:
        raise_interrupt()
        return True
