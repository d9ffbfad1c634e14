"""Errors of calls with wrong parameters: the error lists the parameters, and the one that was probably meant."""

from __future__ import annotations

import difflib
import functools
import inspect
from collections.abc import Callable, Collection
from typing import Any, Final, ParamSpec, TypeVar

__all__ = ["checked_call", "explain_call", "listed_parameters", "meant"]

SUGGESTION: Final = ". Did you mean "
"""The beginning of what CPython 3.13 adds to the error by itself; the hint says it on all versions."""

P = ParamSpec("P")
R = TypeVar("R")


def checked_call(function: Callable[P, R]) -> Callable[P, R]:
    """Decorate a function or an ``__init__`` so that the ``TypeError`` of a wrong call lists its parameters.

    Cost: one call.

    Example
    -------
    >>> @checked_call
    ... def drain(id: str, *, deadline: float = 30.0) -> None: ...
    >>> drain("a", deadlin=5)
    Traceback (most recent call last):
        ...
    TypeError: drain() got an unexpected keyword argument 'deadlin'; its parameters are id, deadline=; did you mean 'deadline'?
    """

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> R:
        try:
            return function(*args, **kwargs)
        except TypeError as error:
            explain_call(error, function, args, kwargs)
            raise

    return call


def explain_call(
    error: Exception, function: Callable[..., object], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> None:
    """Add the parameters of a function to the error of a call that does not match its signature. Ignore other errors.

    Parameters
    ----------
    error
        The exception of the call, caught in the frame that made the call.
    function, args, kwargs
        The function and the arguments of the call.
    """
    if not isinstance(error, TypeError) or error.__traceback__ is None or error.__traceback__.tb_next:
        return  # raised by the function itself, or by what it calls
    signature = inspect.signature(function)
    try:
        signature.bind(*args, **kwargs)
    except TypeError:
        shown = listed_parameters(
            [_shown(one) for one in signature.parameters.values() if one.name != "self"]
        )
        unknown = [name for name in kwargs if name not in signature.parameters]
        hint = meant(unknown[0], signature.parameters) if unknown else ""
        said = str(error).partition(SUGGESTION)[0]
        error.args = (f"{said}; {shown}{hint}",)


def _shown(parameter: inspect.Parameter) -> str:
    """Return the text of a parameter: ``name=`` for a keyword-only one."""
    if parameter.kind is parameter.KEYWORD_ONLY:
        return f"{parameter.name}="
    stars = "*" if parameter.kind is parameter.VAR_POSITIONAL else ""
    return f"{'**' if parameter.kind is parameter.VAR_KEYWORD else stars}{parameter.name}"


def listed_parameters(names: Collection[str]) -> str:
    """Return a clause that lists parameters."""
    return f"its parameters are {', '.join(names)}" if names else "it has no parameters"


def meant(name: str, known: Collection[str]) -> str:
    """Return a clause with the known name that is most similar to ``name``; an empty string if none is similar."""
    close = difflib.get_close_matches(name[:100], known, n=1)
    return f"; did you mean {close[0]!r}?" if close else ""
