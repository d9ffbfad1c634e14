"""Conditions on headers, cookies and query parameters.

.. code-block:: python

    header("x-beta").is_("1")        cookie("track").starts("canary")        query("v").between(2, 5)

``absent()`` and ``is_not("1")`` differ. ``is_not`` also holds for a request without the value. In Envoy an inverted
match does not, and "not the canaries" then selects no request. Values are compared as sent, undecoded. Several
fields of one header count as one value, joined by a comma and a blank (RFC 9110 5.3). If a cookie or parameter is
repeated, the first counts.

Cost: one call and one dictionary access.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final, TypeAlias, final

from balancekit._support import validation as valid
from balancekit._support.arguments import checked_arguments
from balancekit.errors import ConfigurationError
from balancekit.l7._request import Request

__all__ = ["Value", "ValueCondition", "cookie", "header", "query"]

Read: TypeAlias = Callable[[Request, str], str | None]
READ: Final[dict[str, Read]] = {
    "header": Request.header,
    "cookie": Request.cookie,
    "query": Request.parameter,
}
TOKEN: Final = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
NUMBER: Final = re.compile(r"-?[0-9]{1,19}")


@final
class ValueCondition:
    """One condition on one value of a request. Made by the methods of :class:`Value`.

    Raises
    ------
    ConfigurationError
        If ``kind`` is unknown.
    """

    __slots__ = ("accepts", "argument", "kind", "name", "operator", "test")

    @checked_arguments
    def __init__(
        self, kind: str, name: str, operator: str, argument: object, accepts: Callable[[str | None], bool]
    ) -> None:
        if kind not in READ:
            raise ConfigurationError("kind", kind, " or ".join(map(repr, READ)))
        self.kind: str = kind
        self.name: str = name
        self.operator: str = operator
        self.argument: object = argument
        self.accepts: Callable[[str | None], bool] = accepts
        """Whether a value, or its absence, meets the condition."""
        self.test: Callable[[Request, str], bool] = _test(READ[kind], name, operator, argument, accepts)
        """Whether a request meets it, called with the request and its path, as the index calls its tests."""

    @property
    def identity(self) -> tuple[str, str, str, object]:
        """What makes it the same condition as another."""
        return (self.kind, self.name, self.operator, self.argument)

    @checked_arguments
    def holds(self, request: Request, /) -> bool:
        """Whether a request meets the condition."""
        return self.accepts(self.read(request))

    @checked_arguments
    def read(self, request: Request, /) -> str | None:
        """Return the value it looks at."""
        return READ[self.kind](request, self.name)

    @checked_arguments
    def failure(self, request: Request, /) -> str:
        """Return, as text, what the request has instead."""
        value = self.read(request)
        return f"{self.kind} {self.name} is {'absent' if value is None else _short(value)}, not: {self._wanted()}"

    def _wanted(self) -> str:
        if self.argument is None:
            return self.operator
        return f"{self.operator} {self.argument!r}" if self.operator != "is" else repr(self.argument)

    def __reduce__(self) -> tuple[Any, ...]:
        if self.accepts.__module__ != __name__:
            return ValueCondition, (*self.identity, self.accepts)
        return _made_again, self.identity

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ValueCondition) and self.identity == other.identity

    def __hash__(self) -> int:
        return hash(self.identity)

    def __repr__(self) -> str:
        return f"{self.kind} {self.name} {self.operator}" + (
            "" if self.argument is None else f" {self.argument!r}"
        )


@final
class Value:
    """A header, cookie or query parameter, to be compared. Made by :func:`header`, :func:`cookie`, :func:`query`."""

    __slots__ = ("kind", "name")

    @checked_arguments
    def __init__(self, kind: str, name: str) -> None:
        self.kind: str = kind
        self.name: str = name

    @checked_arguments
    def is_(self, text: str) -> ValueCondition:
        """Hold if the value is this text."""
        wanted = valid.text("is_", text, empty=True)
        return self._make("is", wanted, lambda value: value == wanted)

    @checked_arguments
    def is_not(self, text: str) -> ValueCondition:
        """Hold if the value is another text or absent."""
        other = valid.text("is_not", text, empty=True)
        return self._make("is not", other, lambda value: value != other)

    @checked_arguments
    def starts(self, text: str) -> ValueCondition:
        """Hold if the value begins with this text."""
        start = valid.text("starts", text)
        return self._make("starts with", start, lambda value: value is not None and value.startswith(start))

    @checked_arguments
    def contains(self, text: str) -> ValueCondition:
        """Hold if this text occurs in the value."""
        part = valid.text("contains", text)
        return self._make("contains", part, lambda value: value is not None and part in value)

    @checked_arguments
    def matches(self, expression: str) -> ValueCondition:
        """Hold if the whole value matches a regular expression.

        Raises
        ------
        ConfigurationError
            If it does not compile.
        """
        try:
            whole = re.compile(valid.text("matches", expression)).fullmatch
        except (re.error, RecursionError, OverflowError) as error:
            raise ConfigurationError("matches", expression, f"a regular expression ({error})") from None
        return self._make("matches", expression, lambda value: value is not None and whole(value) is not None)

    @checked_arguments
    def between(self, low: int, high: int) -> ValueCondition:
        """Hold if the whole value is a decimal integer from ``low`` to ``high``, both included.

        Raises
        ------
        ConfigurationError
            If ``high`` is less than ``low``.
        """
        first = valid.integer("low", low, minimum=-(10**18))
        last = valid.integer("high", high, minimum=first)
        return self._make(
            "between",
            (first, last),
            lambda value: (
                value is not None and NUMBER.fullmatch(value) is not None and first <= int(value) <= last
            ),
        )

    def present(self) -> ValueCondition:
        """Hold if there is a value, whatever it is."""
        return self._make("present", None, lambda value: value is not None)

    def absent(self) -> ValueCondition:
        """Hold if there is no value."""
        return self._make("absent", None, lambda value: value is None)

    def _make(self, operator: str, argument: object, test: Callable[[str | None], bool]) -> ValueCondition:
        return ValueCondition(self.kind, self.name, operator, argument, test)

    def __repr__(self) -> str:
        return f"{self.kind}({self.name!r})"


MADE_BY: Final[dict[str, Callable[..., ValueCondition]]] = {
    "is": Value.is_,
    "is not": Value.is_not,
    "starts with": Value.starts,
    "contains": Value.contains,
    "matches": Value.matches,
    "between": Value.between,
    "present": Value.present,
    "absent": Value.absent,
}
"""The methods that make conditions, by the operator of what they make."""


def _made_again(kind: str, name: str, operator: str, argument: object) -> ValueCondition:
    """Return a condition that a method of :class:`Value` made, from what makes it the same: its test is no value."""
    arguments = argument if isinstance(argument, tuple) else () if argument is None else (argument,)
    return MADE_BY[operator](Value(kind, name), *arguments)


@checked_arguments
def header(name: str, /) -> Value:
    """Return a header to compare. Names have no case.

    Example
    -------
    >>> from balancekit.l7 import Request, header
    >>> header("X-Beta").is_("1").holds(Request("/", headers={"x-beta": "1"}))
    True
    >>> header("x-beta").is_not("1").holds(Request("/")), header("x-beta").present().holds(Request("/"))
    (True, False)
    """
    return Value("header", _name("header", name).lower())


@checked_arguments
def cookie(name: str, /) -> Value:
    """Return a cookie to compare. Names have case; quotes belong to the value."""
    return Value("cookie", _name("cookie", name))


@checked_arguments
def query(name: str, /) -> Value:
    """Return a query parameter to compare, as sent. Names have case.

    Raises
    ------
    ConfigurationError
        If ``name`` is empty or no string.
    """
    return Value("query", valid.text("query", name))


def _test(
    read: Read, name: str, operator: str, argument: object, accepts: Callable[[str | None], bool]
) -> Callable[[Request, str], bool]:
    if operator == "is":
        return lambda request, _path: read(request, name) == argument
    return lambda request, _path: accepts(read(request, name))


def _name(kind: str, name: object) -> str:
    if isinstance(name, str) and TOKEN.fullmatch(name):
        return name
    raise ConfigurationError(kind, name, "a name of letters, digits and !#$%&'*+-.^_`|~")


def _short(value: str) -> str:
    return repr(value if len(value) <= 200 else value[:200] + "...")
