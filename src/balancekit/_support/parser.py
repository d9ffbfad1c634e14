"""The argument parser of the command line."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final, NoReturn

from balancekit.errors import brief, brief_line

__all__ = ["Parser"]

NUMBERS: Final[Mapping[object, str]] = MappingProxyType({int: "a whole number", float: "a number"})
UNITS: Final = frozenset(
    {"ADVERTS", "CHECKS", "HOURS", "POINTS", "READINGS", "RESOLVERS", "SECONDS", "SERVERS", "SLOTS"}
)
"""Names of values in the help that are units."""


class Parser(argparse.ArgumentParser):
    """An ``ArgumentParser`` with three differences.

    It raises an error if the help or the version cannot be written; argparse ignores that. The error for a text that is
    no number has the unit of the option, and not the name of a type. Errors show a given text shortened, and without
    passwords of URLs.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.prog: str = brief_line(self.prog)  # it may contain the name of a file

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
