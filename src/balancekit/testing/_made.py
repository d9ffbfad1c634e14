"""Objects on trial, from the functions that make them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from balancekit.errors import ConfigurationError

__all__ = ["made"]

T = TypeVar("T")


def made(make: Callable[[], T], wanted: str, *, example: str) -> T:
    """Return the result of a function without parameters.

    Parameters
    ----------
    make
        The function.
    wanted
        The kind of object that errors name as the expected result.
    example
        The correct argument if ``make`` is a class, with ``{}`` for the name of the class. Errors show it.

    Raises
    ------
    ConfigurationError
        If it cannot be called without arguments.

    Example
    -------
    >>> made(lambda name: [name], "a list", example="lambda: {}()")
    Traceback (most recent call last):
        ...
    balancekit.errors.ConfigurationError: make=<function <lambda> at ...> is not allowed: expected a function without parameters that makes a list...
    """
    if not callable(make):
        raise ConfigurationError("make", make, f"a function without parameters that makes {wanted}")
    try:
        return make()
    except TypeError as error:
        within = error.__traceback__ is not None and error.__traceback__.tb_next is not None
        if within and not isinstance(make, type):  # the function was entered: the error is of its own
            raise
        allowed = f"a function without parameters that makes {wanted}"
        if isinstance(make, type):
            allowed += f": `{example.format(make.__name__)}`"
        raise ConfigurationError("make", make, f"{allowed} ({error})") from None
