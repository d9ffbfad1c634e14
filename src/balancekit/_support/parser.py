"""The argument parser of the command line."""

from __future__ import annotations

import argparse
import difflib
import sys
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final, NoReturn

from balancekit.errors import brief, brief_line

__all__ = ["Parser"]

NUMBERS: Final[Mapping[object, str]] = MappingProxyType({int: "a whole number", float: "a number"})
UNITS: Final = frozenset(
    {"ADVERTS", "CHECKS", "HOURS", "POINTS", "READINGS", "RESOLVERS", "SECONDS", "SERVERS", "SLOTS"}
)
"""Names of values in the help that are units."""

MAX_OPTION_CHARS: Final = 100
"""Maximum number of characters of an unknown option that are compared with the known ones."""


class Parser(argparse.ArgumentParser):
    """An ``ArgumentParser`` with four differences.

    It raises an error if the help or the version cannot be written; argparse ignores that. The error for a text that is
    no number has the unit of the option, and not the name of a type. Errors show a given text shortened, and without
    passwords of URLs. The error for an argument of a command that is unknown has the usage of this command.

    Parameters
    ----------
    hint
        The end of the error for unknown arguments.
    options
        The parameters of ``ArgumentParser``.
    """

    def __init__(self, *, hint: str = "", **options: Any) -> None:
        super().__init__(**options)
        self._hint = hint
        self.set_defaults(parser=self)  # that of a command replaces that of the program
        self.prog: str = brief_line(self.prog)  # it may contain the name of a file

    def parsed(self, arguments: Sequence[str] | None = None) -> argparse.Namespace:
        """Return the options; exit with status 2 if there are unknown arguments."""
        found, unknown = self.parse_known_args(arguments)
        if unknown:
            found.parser.reject(unknown)
        return found

    def reject(self, unknown: Sequence[str]) -> NoReturn:
        """Print the usage and the unknown arguments, with the option that was probably meant, and exit with status 2."""
        known = [word for action in self._actions for word in action.option_strings]
        close = difflib.get_close_matches(unknown[0].partition("=")[0][:MAX_OPTION_CHARS], known, n=1)
        meant = f"; did you mean {close[0]}?" if close else ""
        self.error(f"unrecognized arguments: {' '.join(unknown)}{meant}{self._hint}")

    def error(self, message: str) -> NoReturn:
        """Print the usage and the error, and exit with status 2."""
        super().error(brief_line(message))

    def _print_message(self, message: str, file: Any = None) -> None:
        if file is sys.stdout:
            file.write(message)
        else:
            super()._print_message(message, file)

    def _get_value(self, action: argparse.Action, arg_string: str) -> Any:
        number, convert, unit = NUMBERS.get(action.type), action.type, action.metavar
        if number is None or not callable(convert):
            return super()._get_value(action, arg_string)
        try:
            return convert(arg_string)
        except ValueError:
            of = f" of {unit.lower()}" if isinstance(unit, str) and unit in UNITS else ""
            raise argparse.ArgumentError(action, f"{brief(arg_string)} is not {number}{of}") from None
