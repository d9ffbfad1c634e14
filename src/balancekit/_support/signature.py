"""Signatures that show the options behind ``**options``, for ``help()``, editors and Sphinx.

Type checkers see the options through ``Unpack``, but ``inspect.signature`` shows only ``**options``. This module imports
``inspect``, which takes 7 ms. So only modules that import it anyway use this one.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, TypeVar, is_typeddict

__all__ = ["spelled"]

F = TypeVar("F", bound=Callable[..., Any])


def spelled(source: Callable[..., Any]) -> Callable[[F], F]:
    """Return a decorator that replaces ``**options`` in the signature of a function by the parameters of ``source``.

    Parameters
    ----------
    source
        A ``TypedDict`` of options, whose defaults are shown as ``...``; or a callable that has the options as parameters.

    Example
    -------
    >>> def run(*, speed: float = 1.0) -> None: ...
    >>> @spelled(run)
    ... def start(name: str, **options: float) -> None: ...
    >>> list(inspect.signature(start).parameters)
    ['name', 'speed']
    """

    def decorate(target: F) -> F:
        own = inspect.signature(target)
        kept = [each for each in own.parameters.values() if each.kind is not inspect.Parameter.VAR_KEYWORD]
        names = {each.name for each in kept}
        more = [each for each in _options(source) if each.name not in names]
        target.__signature__ = own.replace(parameters=[*kept, *more])  # type: ignore[attr-defined]  # what inspect reads
        return target

    return decorate


def _options(source: Callable[..., Any]) -> list[inspect.Parameter]:
    """Return the parameters of a source as keyword-only ones."""
    keyword = inspect.Parameter.KEYWORD_ONLY
    if is_typeddict(source):
        return [
            inspect.Parameter(name, keyword, default=..., annotation=getattr(kind, "__forward_arg__", kind))
            for name, kind in source.__annotations__.items()
        ]
    taken = (keyword, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    found = inspect.signature(source).parameters.values()
    return [each.replace(kind=keyword) for each in found if each.kind in taken]
