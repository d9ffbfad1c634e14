"""nginx's ``server`` and ``location`` blocks, as they were read."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NamedTuple

from balancekit.proxyconfig._model import Origin, ProxyConfigError
from balancekit.proxyconfig._nginx_files import Directive
from balancekit.proxyconfig._nginx_template import written_bytes

__all__ = ["LocationBlock", "LocationName", "ServerBlock", "location_name", "refuse_repeated", "server_name"]

MODIFIERS: Final = ("~*", "^~", "=", "~")
"""What may stand before the pattern of a location; the longer ones first, because it may be joined to the pattern."""


class LocationName(NamedTuple):
    """What a location is for."""

    modifier: str
    pattern: str
    origin: Origin

    @property
    def is_expression(self) -> bool:
        """Whether the pattern is a regular expression."""
        return self.modifier.startswith("~")

    @property
    def is_named(self) -> bool:
        """Whether only other locations lead here."""
        return self.pattern.startswith("@")

    def refuse_inner(self, inner: LocationName) -> None:
        """Refuse a location inside of this one where nginx does.

        Raises
        ------
        ProxyConfigError
            With the line of the inner one.
        """
        if self.modifier == "=" or self.is_named:
            raise ProxyConfigError(inner.origin, f"no location can be inside of {self.pattern}")
        if inner.is_named or not (inner.is_expression or inner.pattern.startswith(self.pattern)):
            raise ProxyConfigError(
                inner.origin, f"location {inner.pattern} is outside of location {self.pattern}"
            )


class LocationBlock(NamedTuple):
    """A location, with the number of its action."""

    name: LocationName
    action: str
    proxies: bool = True
    """Whether a path that lacks the last slash of the location is redirected to it."""
    inner: tuple[LocationBlock, ...] = ()

    def rule(self) -> dict[str, object]:
        """Return it as :class:`balancekit.compat.nginx.Locations` takes it."""
        return {
            "modifier": self.name.modifier,
            "pattern": self.name.pattern,
            "pool": self.action,
            "redirects": self.proxies,
            "locations": [block.rule() for block in self.inner],
        }


class ServerBlock(NamedTuple):
    """A server, on one of its ports."""

    names: tuple[str, ...]
    default: bool
    """Whether it is marked as the default server of the port."""
    locations: tuple[LocationBlock, ...]
    merge_slashes: bool
    underscores: bool
    """Whether headers with ``_`` in their names are taken."""

    def rule(self) -> dict[str, object]:
        """Return it as :class:`balancekit.compat.nginx.Locations` takes it."""
        return {
            "names": self.names,
            "default": self.default,
            "merge_slashes": self.merge_slashes,
            "locations": [block.rule() for block in self.locations],
        }


def location_name(block: Directive) -> LocationName:
    """Return the name of a location.

    Raises
    ------
    ProxyConfigError
        If it is written otherwise.
    """
    args = block.args
    if len(args) == 1:
        modifier = next((sign for sign in MODIFIERS if args[0].startswith(sign)), "")
        args = (modifier, args[0][len(modifier) :])
    if len(args) != 2 or args[0] not in {"", *MODIFIERS}:
        raise ProxyConfigError(block.origin, "a location is written [= | ~ | ~* | ^~] pattern { }")
    return LocationName(args[0], written_bytes(args[1]).decode("latin-1"), block.origin)


def refuse_repeated(level: Iterable[LocationName]) -> None:
    """Refuse a location that is written twice at one level, as nginx does; expressions may be.

    Raises
    ------
    ProxyConfigError
        With the line of the second one.
    """
    seen: set[tuple[bool, str]] = set()
    for name in level:
        if name.is_expression or name.is_named:
            continue
        place = (name.modifier == "=", name.pattern)
        if place in seen:
            raise ProxyConfigError(name.origin, f"a second location {name.pattern}")
        seen.add(place)


def server_name(directive: Directive, name: str) -> str:
    """Return a name of a server.

    Raises
    ------
    ProxyConfigError
        For a wildcard that nginx does not have.
    """
    if (name.startswith("*") and (len(name) < 3 or name[1] != ".")) or name == ".":
        raise ProxyConfigError(directive.origin, f"server_name {name}: *. stands before a name")
    return name
