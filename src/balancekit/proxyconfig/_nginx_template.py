"""Texts of nginx with variables: what ``hash``, ``proxy_pass`` and maps make of a request.

Source: nginx 1.22, ``ngx_http_script.c``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from typing import Final, Protocol, final

from balancekit.proxyconfig._model import ProxyRequest

__all__ = ["Template", "UnknownVariableError", "Value", "VariableSource", "written_bytes"]

Value = Callable[[ProxyRequest], bytes]
VARIABLE: Final = re.compile(r"\$(?:\{([A-Za-z0-9_]+)\}|([1-9]|[A-Za-z0-9_]+))")
"""A variable in a text. A group of an expression has one digit, and what follows it is text."""


class UnknownVariableError(Exception):
    """A value that needs a variable which is not known here."""


class VariableSource(Protocol):
    """The variables that a text may use."""

    doubtful: Collection[str]
    """Variables that are not known for some requests."""
    fixed: Collection[str]
    """Variables with the same value for all requests."""

    def find(self, name: str) -> Value | None:
        """Return how to compute a variable, ``None`` if it is not known here."""
        ...


@final
class Template:
    """A text with variables.

    Parameters
    ----------
    text
        As written.
    variables
        What is known.
    captures
        Variables that stand for groups of an expression.
    """

    __slots__ = ("_parts", "doubtful", "fixed", "text", "unknown")

    def __init__(self, text: str, variables: VariableSource, captures: Collection[str] = ()) -> None:
        self.text: str = text
        self.unknown: list[str] = []
        """Variables that are not known."""
        self.doubtful: list[str] = []
        """Variables that are not known for some requests."""
        self.fixed: bool = True
        """Whether its value is the same for all requests."""
        self._parts: list[bytes | str | Value] = []
        start = 0
        for found in VARIABLE.finditer(text):
            name = found[1] or found[2]
            if name in captures and not (found[1] or "").isdecimal():
                self.fixed = False
                self._parts += [written_bytes(text[start : found.start()]), name]
                start = found.end()
                continue
            value = variables.find(name)
            if value is None:
                self.unknown.append(f"${name}")
                value = _unknown(name)
            elif name.lower() in variables.doubtful:
                self.doubtful.append(f"${name}")
            self.fixed = self.fixed and name.lower() in variables.fixed
            self._parts += [written_bytes(text[start : found.start()]), value]
            start = found.end()
        self._parts.append(written_bytes(text[start:]))

    @property
    def constant(self) -> bool:
        """Whether there is no variable in it."""
        return "$" not in self.text

    def value(self, request: ProxyRequest, match: re.Match[str] | None = None) -> bytes:
        """Return what a request makes of it.

        Parameters
        ----------
        request
            The request.
        match
            The match of the expression whose groups the text uses.

        Raises
        ------
        UnknownVariableError
            If it needs a variable that is not known.
        """
        return b"".join(
            [
                part
                if isinstance(part, bytes)
                else _group(match, part)
                if isinstance(part, str)
                else part(request)
                for part in self._parts
            ]
        )


def _group(match: re.Match[str] | None, name: str) -> bytes:
    """Return a group of a match by its number or name, empty if it took no part."""
    if match is None:
        return b""
    return (match[int(name) if name.isdecimal() else name] or "").encode("latin-1")


def written_bytes(text: str) -> bytes:
    """Return the bytes of a text of a configuration, those that are not UTF-8 too."""
    return text.encode("utf-8", "surrogateescape")


def _unknown(name: str) -> Value:
    def value(_: ProxyRequest) -> bytes:
        raise UnknownVariableError(f"${name}")

    return value
