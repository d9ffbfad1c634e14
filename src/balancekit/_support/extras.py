"""Imports of what an extra brings, and the command that installs it when it is missing."""

from __future__ import annotations

from types import TracebackType
from typing import final

__all__ = ["extra"]


@final
class extra:  # noqa: N801 - used like a function
    """A block of imports from packages that an extra brings.

    Parameters
    ----------
    name
        The extra.

    Raises
    ------
    ModuleNotFoundError
        If a module is missing: its text says which extra to install, its ``name`` is the missing module's.

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
