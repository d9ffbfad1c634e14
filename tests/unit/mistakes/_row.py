"""One mistake, and what is said to it."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable
from typing import NamedTuple


class Said(NamedTuple):
    """What came of a mistake."""

    how: str
    """The name of the error or warning class, or ``works``."""
    text: str
    """The message with its notes, or what was returned."""


class Row(NamedTuple):
    """A mistake, or what looks like one and works."""

    name: str
    do: Callable[[], object]
    how: str
    """The name of the error or warning class; ``works`` if it is right as it is, or does what was meant."""
    text: str
    """A pattern in the message, or in what is returned."""

    def said(self) -> Said:
        """Make the mistake."""
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            try:
                result = repr(self.do())
            except Exception as error:
                notes = " | ".join(getattr(error, "__notes__", ()))
                return Said(type(error).__name__, f"{error} {notes}".strip())
        for warning in sorted(caught, key=lambda each: each.category.__name__ != self.how):
            return Said(warning.category.__name__, str(warning.message))
        return Said("works", result)

    def check(self) -> None:
        """Assert that what is said is what should be."""
        said = self.said()
        assert said.how == self.how, said
        assert re.search(self.text, said.text), said
