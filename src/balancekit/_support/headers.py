"""Headers that hold credentials: checked when they are given, and shown by no error."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from balancekit.errors import ConfigurationError

__all__ = ["HEADER_NAME", "secret_headers", "without_secrets"]

HEADER_NAME: Final = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
FRAMING: Final = frozenset({"content-length", "transfer-encoding"})
"""Headers that say where a body ends (RFC 9112, 6)."""
_HEADER_VALUE: Final = re.compile(r"(?:[!-~](?:[ \t!-~]*[!-~])?)?")


_SECRETS: Final = re.compile(r"^((?:[\w.+-]+:)?\w+://|)[^?]*@|(\?).+", re.DOTALL)
"""What people write into URLs and must not be shown: ``user:password@``, and ``?key=...``. A URL may follow the scheme of
a source: ``http_sd:http://...``."""


def without_secrets(url: str) -> str:
    """Return a URL as it may be shown: ``***`` stands for a password and for a query."""
    return _SECRETS.sub(_hide, url)


def _hide(found: re.Match[str]) -> str:
    return "?***" if found[2] else f"{found[1]}***@"


def secret_headers(given: object) -> dict[str, str]:
    """Copy headers that can be sent; an error about others shows no value, for it may be a key."""
    if not isinstance(given, Mapping):
        raise ConfigurationError("headers", "***", "a mapping from names to values")
    for name, value in given.items():
        if not isinstance(name, str) or HEADER_NAME.fullmatch(name) is None:
            raise ConfigurationError("headers", {"***": "***"}, "names as HTTP has them")
        if name.lower() in FRAMING:
            raise ConfigurationError(
                "headers", {name: "***"}, "no header that says where a body ends: that is the request's"
            )
        if not isinstance(value, str) or _HEADER_VALUE.fullmatch(value) is None:
            allowed = "values of printable ASCII, without line ends, and no spaces around them"
            raise ConfigurationError("headers", {name: "***"}, allowed)
    return dict(given)
