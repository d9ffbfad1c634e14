"""Lines of HAProxy that are not modelled, and variables of the environment that are not known."""

from __future__ import annotations

from collections.abc import Mapping
from typing import final

from balancekit.proxyconfig._haproxy_lines import VARIABLE, Environment, Line
from balancekit.proxyconfig._haproxy_misspelt import meant_by
from balancekit.proxyconfig._haproxy_words import effect_of
from balancekit.proxyconfig._model import NotModelled, Origin

__all__ = ["Notes"]


@final
class Notes:
    """What is not modelled of a configuration, in the order of its lines.

    Parameters
    ----------
    given
        The variables of the environment that the proxy was started with, as far as they are known.
    """

    __slots__ = ("_origins", "entries", "environment")

    def __init__(self, given: Mapping[str, str]) -> None:
        self.environment: Environment = Environment(given)
        self.entries: list[NotModelled] = []
        self._origins: set[Origin] = set()

    def add(self, line: Line, why: str) -> None:
        """List a line as not modelled, with the reason; empty if its effect is not known. A slip is the reason then."""
        meant = None if why else meant_by(line.words)
        if meant is not None:
            why = f"HAProxy does not know it; {meant} was probably meant"
        self.entries.append(NotModelled(origin=line.origin, text=str(line), why=why))
        self._origins.add(line.origin)

    def add_effect(self, line: Line, *, in_global: bool = False) -> None:
        """List a line if it may change a decision and is not followed."""
        why = effect_of(line.words, in_global=in_global)
        if why is not None:
            self.add(line, why)

    def has(self, line: Line) -> bool:
        """Whether a line is listed."""
        return line.origin in self._origins

    def expanded(self, address: str) -> str:
        """Return an address with the values of its variables, which HAProxy expands outside of quotes, too."""
        return VARIABLE.sub(self.environment.value, address)

    def add_unknown(self, line: Line) -> None:
        """List a line if it used variables of the environment that are not known."""
        if self.environment.unknown:
            names = ", ".join(self.environment.unknown)
            self.add(line, f"the environment's {names} is not known here, and taken to be empty")
            self.environment.unknown.clear()
