"""Imports from the packages of an extra. If one is missing, the error has the command that installs it."""

from __future__ import annotations

from types import TracebackType
from typing import final

__all__ = ["extra"]


@final
class extra:  # noqa: N801 - used like a function
    """A context manager for imports from the packages of an extra.

    Parameters
    ----------
    name
        The name of the extra.

    Raises
    ------
    ModuleNotFoundError
        If a module is missing. The message has the ``pip install`` command; ``name`` is the name of the missing module.

    Example
    -------
    >>> with extra("requests"):
    ...     import no_such_module
    Traceback (most recent call last):
    ...
    ModuleNotFoundError: No module named 'no_such_module': pip install 'balancekit[requests]'
    """

    __slots__ = ("_name",)

    def __init__(self, name: str) -> None:
        self._name = name

    def __enter__(self) -> None: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if (
            isinstance(error, ModuleNotFoundError)
            and error.name is not None
            and "pip install" not in error.msg
        ):
            text = f"No module named {error.name!r}: pip install 'balancekit[{self._name}]'"
            raise ModuleNotFoundError(text, name=error.name) from None
