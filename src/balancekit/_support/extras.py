"""Imports from the packages of an extra. If one is missing, the error has the command that installs it."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import Final, final

__all__ = ["command_imports", "extra", "install_command", "missing_text"]

EXIT_MISSING: Final = 2
"""Exit status of a command if a package is missing."""
EXIT_INTERRUPTED: Final = 130
"""Exit status of a command after Ctrl-C."""


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
            raise ModuleNotFoundError(missing_text(error.name, self._name), name=error.name) from None


def install_command(extra: str) -> str:
    """Return the command that installs the packages of an extra."""
    return f"pip install 'balancekit[{extra}]'"


def missing_text(module: str | None, extra: str) -> str:
    """Return the text of an error about a module that is missing, with the command that installs its extra."""
    return f"No module named {module!r}: {install_command(extra)}"


@final
class command_imports:  # noqa: N801 - used like a function
    """A context manager for imports of a module that is a command as well.

    If the module is run, a missing package or Ctrl-C ends the process without a traceback. If it is imported, both are
    passed on.

    Parameters
    ----------
    name
        The ``__name__`` of the module.

    Raises
    ------
    SystemExit
        In a module that is run, with status 2 for a missing package and 130 for Ctrl-C.

    Example
    -------
    >>> with command_imports("__main__"), extra("requests"):
    ...     import no_such_module
    Traceback (most recent call last):
    ...
    SystemExit: 2
    """

    __slots__ = ("_run",)

    def __init__(self, name: str) -> None:
        self._run = name == "__main__"

    def __enter__(self) -> None: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._run and isinstance(error, KeyboardInterrupt):
            raise SystemExit(EXIT_INTERRUPTED) from None
        if self._run and isinstance(error, ModuleNotFoundError):
            if sys.stderr is not None:
                sys.stderr.write(f"{error.msg}\n")
            raise SystemExit(EXIT_MISSING) from None
