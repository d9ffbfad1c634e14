"""Names that users look for on a class that has none of them, and what to write instead."""

from __future__ import annotations

from typing import NoReturn, final

__all__ = ["Elsewhere"]


@final
class Elsewhere:
    """A class attribute that is missing, with an error that says where to look.

    ``hasattr`` answers ``False``. A class with ``__getattr__`` could say the same, but then CPython caches none of its
    attributes.

    Parameters
    ----------
    advice
        What to write.

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
        if self._name:  # assigned to several names at once: each says its own
            another = Elsewhere(self._advice)
            another.__set_name__(owner, name)
            setattr(owner, name, another)
        else:
            self._name = name

    def __get__(self, instance: object, owner: type) -> NoReturn:
        raise AttributeError(f"{owner.__name__!r} object has no attribute {self._name!r}: {self._advice}")
