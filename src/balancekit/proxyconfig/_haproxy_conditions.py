"""HAProxy's conditional blocks: ``.if``, ``.elif``, ``.else`` and ``.endif``, and their expressions.

A fact about the machine that is not known here has an assumed value, and the line is listed: a variable of the
environment is not defined, the version is 2.6, a feature is missing.

Source: HAProxy 2.6 configuration manual, section 2.4; ``haproxy -c`` for what is refused.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple, final

from balancekit.proxyconfig._model import Origin, ProxyConfigError

__all__ = ["CONDITIONS", "Conditions", "evaluate"]

CONDITIONS: Final = frozenset({".if", ".elif", ".else", ".endif"})
MAX_NESTED: Final = 32
"""Blocks, and parentheses of an expression, within each other."""
MODELLED: Final = (2, 6)
"""The version of HAProxy that is modelled."""
NUMBER: Final = re.compile(r"[+-]?(?:0x[0-9A-Fa-f]+|[0-9]+)")
PREDICATE: Final = re.compile(r"([a-z_]+)\(([^()]*)\)")
VERSION: Final = re.compile(r"([0-9]{1,9})(?:\.([0-9]{1,9}))?(?:[.-].*)?")
TEXTS: Final = {"streq": 2, "strneq": 2, "strstr": 2, "defined": 1}
"""Predicates whose value follows from the text and the environment, and how many arguments each has."""
VERSIONS: Final = frozenset({"version_atleast", "version_before"})
ASSUMED: Final = frozenset(
    {
        "feature",
        "enabled",
        "openssl_version_atleast",
        "openssl_version_before",
        "ssllib_name_startswith",
        "awslc_api_atleast",
        "awslc_api_before",
    }
)
"""Predicates about how the proxy was built or started."""


class Value(NamedTuple):
    """The value of an expression, and what was assumed for it."""

    holds: bool
    assumed: tuple[str, ...]


def evaluate(text: str, origin: Origin, defined: frozenset[str]) -> Value:
    """Return the value of an expression. An empty one is false.

    Parameters
    ----------
    text
        The expression, its quotes and variables resolved.
    origin
        Its line, for errors.
    defined
        Names of the variables that are known to be defined.

    Raises
    ------
    ProxyConfigError
        If it is no expression.

    Example
    -------
    >>> evaluate("!defined(A) && (0 || streq(x,x))", Origin("f", 1), frozenset({"B"}))
    Value(holds=True, assumed=('A is not known here, and taken to be undefined',))
    """
    if not text.strip():
        return Value(False, ())
    parser = _Parser(text, origin, defined)
    holds = parser.alternatives(0)
    parser.end()
    return Value(holds, tuple(dict.fromkeys(parser.assumed)))


@final
class _Parser:
    """A recursive descent through one expression."""

    def __init__(self, text: str, origin: Origin, defined: frozenset[str]) -> None:
        self._text = text
        self._origin = origin
        self._defined = defined
        self._place = 0
        self.assumed: list[str] = []

    def alternatives(self, depth: int) -> bool:
        """Read terms joined by ``||``."""
        holds = self._all(depth)
        while self._next("||"):
            holds = self._all(depth) or holds
        return holds

    def end(self) -> None:
        """Refuse what is left."""
        self._blanks()
        if self._place < len(self._text):
            raise self._error()

    def _all(self, depth: int) -> bool:
        holds = self._term(depth)
        while self._next("&&"):
            holds = self._term(depth) and holds
        return holds

    def _term(self, depth: int) -> bool:
        negated = False
        while self._next("!"):
            negated = not negated
        self._blanks()
        if self._next("("):
            if depth >= MAX_NESTED:
                raise ProxyConfigError(self._origin, f"more than {MAX_NESTED} parentheses within each other")
            holds = self.alternatives(depth + 1)
            if not self._next(")"):
                raise self._error()
            return holds is not negated
        number = NUMBER.match(self._text, self._place)
        if number is not None:
            self._place = number.end()
            return bool({*number[0].lower()} - {*"+-0x"}) is not negated
        predicate = PREDICATE.match(self._text, self._place)
        if predicate is None:
            raise self._error()
        holds = self._predicate(predicate[1], predicate[2])
        self._place = predicate.end()
        return holds is not negated

    def _predicate(self, name: str, text: str) -> bool:
        arguments = text.split(",")
        if len(arguments) != TEXTS.get(name, 1):
            raise ProxyConfigError(self._origin, f"{name} has {TEXTS.get(name, 1)} arguments")
        if name == "defined":
            if text not in self._defined:
                self.assumed.append(f"{text} is not known here, and taken to be undefined")
            return text in self._defined
        if name in TEXTS:
            first, second = arguments
            if name == "strstr":
                return second in first
            return (first == second) is (name == "streq")
        if name in VERSIONS:
            found = VERSION.fullmatch(text)
            if found is None:
                raise ProxyConfigError(self._origin, f"{text!r} is no version")
            self.assumed.append(f"the version is taken to be {MODELLED[0]}.{MODELLED[1]}")
            return ((int(found[1]), int(found[2] or 0)) <= MODELLED) is (name == "version_atleast")
        if name not in ASSUMED:
            raise self._error()
        self.assumed.append(f"{name}({text}) is not known here, and taken to be false")
        return False

    def _blanks(self) -> None:
        while self._text.startswith((" ", "\t"), self._place):
            self._place += 1

    def _next(self, sign: str) -> bool:
        self._blanks()
        found = self._text.startswith(sign, self._place)
        self._place += len(sign) * found
        return found

    def _error(self) -> ProxyConfigError:
        rest = self._text[self._place :]
        return ProxyConfigError(
            self._origin, f"{rest or 'the end'!r} is not expected in the condition {self._text!r}"
        )


class _Block(NamedTuple):
    """An open block: where it began, whether the lines around it are read, what has been taken."""

    origin: Origin
    outer: bool
    taken: bool
    reading: bool
    otherwise: bool


@final
class Conditions:
    """The blocks that are open at a line of a file."""

    __slots__ = ("_blocks",)

    def __init__(self) -> None:
        self._blocks: list[_Block] = []

    @property
    def reading(self) -> bool:
        """Whether the lines here are read."""
        return not self._blocks or self._blocks[-1].reading

    def read(self, words: tuple[str, ...], origin: Origin, defined: frozenset[str]) -> tuple[str, ...]:
        """Carry out a line of :data:`CONDITIONS`; return what was assumed.

        Raises
        ------
        ProxyConfigError
            For a line that is out of place, or an expression that is none.
        """
        first, text = words[0], " ".join(words[1:])
        if first == ".if":
            if len(self._blocks) >= MAX_NESTED:
                raise ProxyConfigError(origin, f"more than {MAX_NESTED} conditions within each other")
            outer = self.reading
            value = evaluate(text, origin, defined) if outer else Value(False, ())
            self._blocks.append(_Block(origin, outer, value.holds, value.holds, False))
            return value.assumed
        if not self._blocks:
            raise ProxyConfigError(origin, f"{first} without .if")
        block = self._blocks[-1]
        if first == ".elif":
            if block.otherwise:
                raise ProxyConfigError(origin, ".elif after .else")
            needed = block.outer and not block.taken
            value = evaluate(text, origin, defined) if needed else Value(False, ())
            self._blocks[-1] = block._replace(taken=block.taken or value.holds, reading=value.holds)
            return value.assumed
        if text:
            raise ProxyConfigError(origin, f"{first} has no arguments")
        if first == ".endif":
            self._blocks.pop()
        elif block.otherwise:
            raise ProxyConfigError(origin, ".else after .else")
        else:
            self._blocks[-1] = block._replace(reading=block.outer and not block.taken, otherwise=True)
        return ()

    def end(self) -> None:
        """Refuse a block that is still open."""
        if self._blocks:
            raise ProxyConfigError(self._blocks[-1].origin, ".if without .endif")
