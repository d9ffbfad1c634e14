"""Which optional hooks an object has, and which of its names were meant to be one.

A protocol is compared with each object, since an instance may have what its class has not. Objects of this library have
what their class has: one of each kind is compared, once in a process. Of a pool of 20,000 endpoints that is a third of
the time it takes to be made.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from typing import Final

from balancekit._support.interrupts import raise_interrupt
from balancekit.errors import ConfigurationError

__all__ = ["is_shipped", "refuse_incomplete", "refuse_misspelt", "supports"]

_known: Final[dict[tuple[type, type], bool]] = {}
"""Of classes of this library only: there is an end to them."""


def is_shipped(given: object) -> bool:
    """Return whether an object is one of this library's own."""
    return type(given).__module__.startswith("balancekit.")


def supports(given: object, protocol: type) -> bool:
    """Return whether an object has the members of a protocol; a property that raises is there."""
    pair = type(given), protocol
    known = _known.get(pair)
    if known is not None:
        return known
    try:
        found = isinstance(given, protocol)
    except Exception:
        raise_interrupt()
        return True
    if is_shipped(given):
        _known[pair] = found
    return found


def refuse_misspelt(parameter: str, given: object, base: type, hooks: Sequence[str]) -> None:
    """Refuse a subclass of a shipped protocol with a public name that is nearly, but not quite, an optional hook."""
    kind = type(given)
    if base not in kind.__mro__:
        return
    known = {*hooks, *dir(base)}
    for name in dir(kind):
        if name.startswith("_") or name in known:
            continue
        for meant in difflib.get_close_matches(name, hooks, n=1, cutoff=0.8):
            raise ConfigurationError(
                parameter, f"{kind.__name__}.{name}", f"a hook's name: did you mean {meant!r}?"
            )


def refuse_incomplete(parameter: str, given: object, members: Sequence[str]) -> None:
    """Refuse an object of the user's that lacks a member of its protocol: what is missing would be found by a request."""
    if is_shipped(given):
        return
    missing = [name for name in members if not _has(given, name)]
    if missing:
        raise ConfigurationError(
            parameter, given, f"an object with {', '.join(members)}; missing: {', '.join(missing)}"
        )


def _has(given: object, name: str) -> bool:
    """Return whether an object has a member; a property that raises is there."""
    if any(name in vars(kind) for kind in type(given).__mro__):
        return True
    try:
        return hasattr(given, name)
    except Exception:
        raise_interrupt()
        return True
