"""Envoy's hash policies: the position of a request on the ring.

Envoy lists *hash policies*: this header, that query parameter, the source address. Each that finds its value
contributes its xxHash64, combined as ``h = rotate_left(h, 1) ^ next``, so that two policies over equal values
do not cancel out. A policy marked ``terminal`` ends the list once there is any hash. No value at all: no
hash, and the request goes to a random place.

Source: Envoy 1.40, ``RouteAction.hash_policy``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from balancekit._support import validation as valid
from balancekit._support.arguments import checked_arguments
from balancekit._support.record import Record, field
from balancekit._support.text import to_bytes
from balancekit.compat.envoy._hash import MASK64, header_hash, xxh64
from balancekit.errors import ConfigurationError

__all__ = ["HashPolicy", "Header", "QueryParameter", "Request", "SourceAddress", "request_hash"]

_NOTHING: Mapping[str, str] = {}
_NO_LINES: Mapping[str, Sequence[str]] = {}


class Request(Record):
    """What hash policies and subsets look at.

    Parameters
    ----------
    headers
        Values by lower-case name; those of several lines joined.
    query
        Values of query parameters by name.
    source
        The client's address as text, without a port; ``""`` if unknown.
    metadata
        What its route matches hosts by, for subsets.
    repeated
        The lines, two or more, of headers that have several: they are hashed one by one, in sorted order.

    Raises
    ------
    ConfigurationError
        For anything but strings.
    """

    headers: Mapping[str, str] = _NOTHING
    query: Mapping[str, str] = _NOTHING
    source: str = ""
    metadata: Mapping[str, Any] = _NOTHING
    repeated: Mapping[str, Sequence[str]] = _NO_LINES

    def _check(self) -> None:
        valid.labels("headers", self.headers)
        valid.labels("query", self.query)
        valid.text("source", self.source, empty=True, any_text=True)
        if not isinstance(self.metadata, Mapping) or not all(isinstance(key, str) for key in self.metadata):
            raise ConfigurationError("metadata", self.metadata, "values by name")
        if not isinstance(self.repeated, Mapping) or not all(map(_are_lines, self.repeated.values())):
            raise ConfigurationError("repeated", self.repeated, "two strings or more by name")


def _are_lines(lines: object) -> bool:
    return isinstance(lines, list | tuple) and len(lines) > 1 and all(isinstance(line, str) for line in lines)


class HashPolicy(Protocol):
    """One place to look for a value."""

    @property
    def terminal(self) -> bool:
        """Whether later policies are skipped once there is a hash."""
        ...

    def value(self, request: Request, /) -> str | None:
        """Return what is to be hashed, ``None`` if the request does not have it."""
        ...


class Header(Record):
    """Hash the value of a header. An empty value counts, a missing one does not.

    Raises
    ------
    ConfigurationError
        If ``name`` is empty, or ``terminal`` is no bool.
    """

    name: str = field(kw_only=False)
    terminal: bool = False

    def _check(self) -> None:
        valid.text("name", self.name)
        valid.flag("terminal", self.terminal)

    @checked_arguments
    def value(self, request: Request, /) -> str | None:
        """Return the header's value."""
        return request.headers.get(self.name.lower())


class QueryParameter(Record):
    """Hash the value of a query parameter.

    Raises
    ------
    ConfigurationError
        If ``name`` is empty, or ``terminal`` is no bool.
    """

    name: str = field(kw_only=False)
    terminal: bool = False

    def _check(self) -> None:
        valid.text("name", self.name)
        valid.flag("terminal", self.terminal)

    @checked_arguments
    def value(self, request: Request, /) -> str | None:
        """Return the parameter's value."""
        return request.query.get(self.name)


class SourceAddress(Record):
    """Hash the client's address, as text.

    Raises
    ------
    ConfigurationError
        If ``terminal`` is no bool.
    """

    terminal: bool = False

    def _check(self) -> None:
        valid.flag("terminal", self.terminal)

    @checked_arguments
    def value(self, request: Request, /) -> str | None:
        """Return the address."""
        return request.source or None


@checked_arguments
def request_hash(policies: Sequence[HashPolicy], request: Request) -> int | None:
    """Return the position of a request, ``None`` if no policy finds a value.

    Example
    -------
    >>> policies = [Header(name="x-user"), SourceAddress()]
    >>> request_hash(policies, Request(headers={"x-user": "7"})) == xxh64(b"7")
    True
    >>> request_hash(policies, Request()) is None
    True
    """
    found: int | None = None
    for policy in policies:
        value = policy.value(request)
        if value is not None:
            before = 0 if found is None else (found << 1 | found >> 63) & MASK64
            lines = request.repeated.get(policy.name.lower()) if isinstance(policy, Header) else None
            found = before ^ (header_hash(map(to_bytes, lines)) if lines else xxh64(to_bytes(value)))
        if policy.terminal and found is not None:
            break
    return found
