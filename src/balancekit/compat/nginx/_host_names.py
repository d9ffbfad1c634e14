"""Host names with wildcards, as nginx matches them for ``server_name`` and for a ``map`` with ``hostnames``.

A name without a wildcard comes first, then the longest name that begins with one, then the longest that ends with one.
``.shop.test`` stands for ``shop.test`` and for all names below it. The host ``.shop.test`` counts as below ``shop.test``.

Source: nginx 1.22, ``ngx_hash.c``. Cost: O(labels of the host).
"""

from __future__ import annotations

from typing import Generic, TypeVar, final

__all__ = ["HostNames"]

T = TypeVar("T")


@final
class HostNames(Generic[T]):
    """Values by the name of a host.

    Example
    -------
    >>> names = HostNames[str]()
    >>> for name in (".shop.test", "*.eu.shop.test", "www.*"):
    ...     names.add(name, name)
    >>> [names.find(host) for host in ("shop.test", "a.eu.shop.test", "www.shop.example", "test")]
    ['.shop.test', '*.eu.shop.test', 'www.*', None]
    """

    __slots__ = ("_exact", "_prefixes", "_suffixes", "_taken")

    def __init__(self) -> None:
        self._exact: dict[str, T] = {}
        self._taken: set[str] = set()
        self._suffixes: dict[str, T] = {}
        self._prefixes: dict[str, T] = {}

    def add(self, name: str, value: T) -> None:
        """Add a name with its value. If the name is already there, keep the first value.

        ``.shop.test`` is ignored if ``shop.test`` or ``*.shop.test`` is already there. If it is ignored because of
        ``*.shop.test``, a later ``shop.test`` is ignored too.
        """
        lower = name.lower()
        if lower.startswith("*."):
            self._suffixes.setdefault(lower[1:], value)
        elif lower.endswith(".*"):
            self._prefixes.setdefault(lower[:-1], value)
        elif lower.removeprefix(".") not in self._taken:
            self._taken.add(lower.removeprefix("."))
            if not lower.startswith("."):
                self._exact[lower] = value
            elif lower not in self._suffixes:
                self._exact[lower[1:]] = self._suffixes[lower] = value

    @staticmethod
    def forms(name: str) -> tuple[str, ...]:
        """Return what a name stands for: ``.shop.test`` for two names. None for one that nginx does not take."""
        body = name.removeprefix("*.") if name != "*." else "*"
        body = body.removesuffix(".*") if body == name and name != ".*" else body
        if "*" in body.removeprefix(".*") or ".." in body:
            return ()
        return (f"*{name}", name[1:]) if name.startswith(".") and body == name else (name,)

    def find(self, host: str) -> T | None:
        """Return the value of a host, which is given in lower case; ``None`` if no name matches."""
        if host in self._exact:
            return self._exact[host]
        dots = [place for place, letter in enumerate(host) if letter == "."]
        for place in dots:
            if host[place:] in self._suffixes:
                return self._suffixes[host[place:]]
        for place in reversed(dots):
            if place < len(host) - 1 and host[: place + 1] in self._prefixes:
                return self._prefixes[host[: place + 1]]
        return None
