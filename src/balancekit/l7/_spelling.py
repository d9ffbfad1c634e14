"""Spellings: which texts of a path and of a host name count as the same.

Two routers that read one request differently are a security hole: the front one guards ``/admin``, the back one decodes
``/%61dmin``. Therefore ``STRICT`` rejects targets that routers are known to read differently, and the path that was
matched is the path that was sent. The other spellings accept the same targets as the named server.

Cost: one scan of the path. Source: ``docs/explanation/routers-disagree.md``, made from recorded choices of real servers.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from typing import ClassVar, Final, final

from balancekit._support import url_paths
from balancekit._support.arguments import checked_arguments
from balancekit._support.text import ascii_host
from balancekit.errors import ConfigurationError

__all__ = ["Spelling", "host_name", "short_address"]

NAME: Final = re.compile(r"(?:[a-z0-9_-]+\.)*[a-z0-9_-]+|\[[0-9a-f:.]+\]")
ESCAPED_SLASHES: Final = ("keep", "reject", "unescape")


@final
class Spelling:
    r"""How a table reads paths and host names. Use one of the constants, or :meth:`envoy`.

    =============  ===========================================================================================
    ``STRICT``     reject what servers read differently: bad escapes, an encoded letter, digit, ``/``, ``\``,
                   ``.`` or NUL, escapes of escapes, dot segments, ``//``, and host names with empty labels or
                   odd characters
    ``RFC3986``    decode what needs no escape, remove dot segments
    ``RAW``        as sent, as HAProxy does
    ``NGINX``      decode once, remove dot segments, merge slashes
    ``ENVOY``      ``normalize_path`` on, as Envoy does; :meth:`envoy` for its other options
    =============  ===========================================================================================

    Host names are compared without case, port and one trailing dot in all of them, IPv6 addresses however they are written.

    *Guarantee.* Under ``STRICT`` and ``RAW`` the matched path is the sent path, but for the case of hexadecimal digits
    under ``STRICT``.

    *When not to use* any but ``STRICT``: when something behind the table reads paths in another way.

    Example
    -------
    >>> from balancekit.l7 import Spelling
    >>> Spelling.STRICT.read("/a/b"), Spelling.STRICT.read("/a/%2e%2e/b"), Spelling.NGINX.read("/a/%2e%2e/b")
    ('/a/b', None, '/b')
    >>> Spelling.STRICT.problem("/a//b")
    "it has '//', which some servers merge"
    """

    __slots__ = ("decodes", "keeps", "name", "read", "strict")

    STRICT: ClassVar[Spelling]
    RFC3986: ClassVar[Spelling]
    RAW: ClassVar[Spelling]
    NGINX: ClassVar[Spelling]
    ENVOY: ClassVar[Spelling]

    @checked_arguments
    def __init__(
        self,
        name: str,
        read: Callable[[str], str | None],
        *,
        strict: bool = False,
        decodes: bool = False,
        keeps: bool = False,
    ) -> None:
        self.name: str = name
        self.read: Callable[[str], str | None] = read
        """From a path as sent to the path that is matched, ``None`` if it is rejected."""
        self.strict: bool = strict
        self.decodes: bool = decodes
        """Whether matched paths are decoded: then patterns are decoded too."""
        self.keeps: bool = keeps
        """Whether the matched path is the sent one, so that it may be rewritten."""

    @staticmethod
    @checked_arguments
    def envoy(
        *, normalize: bool = True, merge_slashes: bool = False, escaped_slashes: str = "keep"
    ) -> Spelling:
        """Return Envoy's reading with its options.

        Parameters
        ----------
        normalize
            ``normalize_path``.
        merge_slashes
            As in Envoy.
        escaped_slashes
            ``path_with_escaped_slashes_action``: ``"keep"``, ``"reject"`` or ``"unescape"``.

        Raises
        ------
        ConfigurationError
            If ``escaped_slashes`` is none of the three.
        """
        if escaped_slashes not in ESCAPED_SLASHES:
            raise ConfigurationError(
                "escaped_slashes", escaped_slashes, f"one of {', '.join(map(repr, ESCAPED_SLASHES))}"
            )
        read = partial(
            url_paths.envoy, normalize=normalize, merge_slashes=merge_slashes, escaped_slashes=escaped_slashes
        )
        return Spelling("ENVOY", read)

    @checked_arguments
    def problem(self, path: str, /) -> str | None:
        """Return why a path is rejected, as text; ``None`` if it is not."""
        if self.read(path) is not None:
            return None
        reason = url_paths.strict_problem(path) if self.strict else None
        return reason or f"the spelling {self.name} does not allow it"

    @checked_arguments
    def host(self, host: str, /) -> str | None:
        """Return a host as it is matched, ``None`` if it is rejected."""
        name = host_name(host)
        if not self.strict or not host:
            return name
        return name if NAME.fullmatch(name) and (name[0] != "[" or short_address(name)) else None

    def __repr__(self) -> str:
        return f"Spelling.{self.name}"


def host_name(host: str) -> str:
    """Return a host in lower case, without its port and one trailing dot, an IPv6 address as short as it can be.

    Example
    -------
    >>> host_name("Shop.Test.:8443"), host_name("[2001:DB8:0::1]:80")
    ('shop.test', '[2001:db8::1]')
    """
    name = host.lower()
    if ":" in name:
        head, _, port = name.rpartition(":")
        if (not port or (port.isascii() and port.isdecimal())) and (":" not in head or head.endswith("]")):
            name = head
    name = name.removesuffix(".")
    return (short_address(name) or name) if name[:1] == "[" else name


def short_address(name: str) -> str | None:
    """Return an IPv6 address in brackets as short as it can be, ``None`` if it is none."""
    address = ascii_host(name[1:-1]) if name[-1:] == "]" and ":" in name else None
    return None if address is None else f"[{address}]"


Spelling.STRICT = Spelling("STRICT", url_paths.strict, strict=True, keeps=True)
Spelling.RFC3986 = Spelling("RFC3986", url_paths.rfc3986)
Spelling.RAW = Spelling("RAW", url_paths.raw, keeps=True)
Spelling.NGINX = Spelling("NGINX", url_paths.nginx, decodes=True)
Spelling.ENVOY = Spelling.envoy()
