"""Envoy's hash policies: the hash of a request.

A hash policy names a part of a request: a header, a query parameter, or the source address. The xxHash64 of each part that the request
has is combined by ``h = rotate_left(h, 1) ^ next``. So the hashes of two equal values do not cancel out. A policy that is marked
``terminal`` ends the list if there is a hash. If the request has no such part, it has no hash, and goes to a random host.

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
    """The parts of a request that hash policies and subsets use.

    Parameters
    ----------
    headers
        Values by lower-case name. The values of a header with several lines are joined.
    query
        Values of query parameters by name.
    source
        The client's address as text, without a port; ``""`` if unknown.
    metadata
        Metadata of the request's route, which choose a subset.
    repeated
        Lines by lower-case name, for headers with two or more lines. They are hashed one by one, in sorted order.

    Raises
    ------
    ConfigurationError
        If a name or value has another type.
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
    """A hash policy: one part of a request that is hashed."""

    @property
    def terminal(self) -> bool:
        """Whether later policies are skipped if there is a hash."""
        ...

    def value(self, request: Request, /) -> str | None:
        """Return the text to hash; ``None`` if the request does not have it."""
        ...


class Header(Record):
    """Hash policy for the value of a header. An empty value is hashed; a missing header is not.

    Parameters
    ----------
    name
        Name of the header.
    terminal
        Whether later policies are skipped if there is a hash.

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
        """Return the value of the header; ``None`` if the request does not have it."""
        return request.headers.get(self.name.lower())


class QueryParameter(Record):
    """Hash policy for the value of a query parameter.

    Parameters
    ----------
    name
        Name of the parameter.
    terminal
        Whether later policies are skipped if there is a hash.

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
        """Return the value of the parameter; ``None`` if the request does not have it."""
        return request.query.get(self.name)


class SourceAddress(Record):
    """Hash policy for the client's address as text.

    Parameters
    ----------
    terminal
        Whether later policies are skipped if there is a hash.

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
        """Return the address; ``None`` if it is unknown."""
        return request.source or None


@checked_arguments
def request_hash(policies: Sequence[HashPolicy], request: Request) -> int | None:
    """Return the hash of a request; ``None`` if the request has no part that a policy names.

    Example
    -------
    >>> from balancekit.compat.envoy import Header, Request, SourceAddress, request_hash, xxh64
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
