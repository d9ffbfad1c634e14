"""Errors for attribute names that a class does not have but users expect, with the name to use instead."""

from __future__ import annotations

from typing import NoReturn, final

__all__ = ["Elsewhere"]


@final
class Elsewhere:
    """A descriptor for a missing attribute. Reading it raises ``AttributeError`` with advice.

    ``hasattr`` returns ``False`` for it. A ``__getattr__`` method could raise the same error, but CPython does not
    cache the attributes of a class with ``__getattr__``.

    Parameters
    ----------
    advice
        The end of the error message: what to write instead.

    Example
    -------
    >>> class Table:
    ...     add = Elsewhere("make another table")
    >>> Table().add
    Traceback (most recent call last):
    ...
    AttributeError: 'Table' object has no attribute 'add': make another table
    """

    __slots__ = ("_advice", "_name")

    def __init__(self, advice: str) -> None:
        self._advice = advice
        self._name = ""

    def __set_name__(self, owner: type, name: str) -> None:
        if self._name:  # assigned to several names: each needs its own descriptor
            another = Elsewhere(self._advice)
            another.__set_name__(owner, name)
            setattr(owner, name, another)
        else:
            self._name = name

    def __get__(self, instance: object, owner: type) -> NoReturn:
        raise AttributeError(f"{owner.__name__!r} object has no attribute {self._name!r}: {self._advice}")
