"""Headers and URLs with credentials: headers are validated, and no error shows a secret."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from balancekit.errors import ConfigurationError

__all__ = ["HEADER_NAME", "secret_headers", "without_secrets"]

HEADER_NAME: Final = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
FRAMING: Final = frozenset({"content-length", "transfer-encoding"})
"""Headers that define the length of a body (RFC 9112, 6)."""
_HEADER_VALUE: Final = re.compile(r"(?:[!-~](?:[ \t!-~]*[!-~])?)?")


_SECRETS: Final = re.compile(r"^((?:[\w.+-]+:)?\w+://|)[^?]*@|(\?).+", re.DOTALL)
"""The parts of a URL that may hold secrets: ``user:password@`` and ``?key=...``. A URL may have the prefix of a source,
as in ``http_sd:http://...``."""


def without_secrets(url: str) -> str:
    """Return a URL in which user and password, and the query, are each replaced by ``***``."""
    return _SECRETS.sub(_hide, url)


def _hide(found: re.Match[str]) -> str:
    return "?***" if found[2] else f"{found[1]}***@"


def secret_headers(given: object) -> dict[str, str]:
    """Return a copy of headers.

    Raises
    ------
    ConfigurationError
        If ``headers`` is no mapping, a name is not valid in HTTP or defines the length of the body, or a value is not
        printable ASCII. The error shows no value, because it may be a secret.
    """
    if not isinstance(given, Mapping):
        raise ConfigurationError("headers", "***", "a mapping from names to values")
    for name, value in given.items():
        if not isinstance(name, str) or HEADER_NAME.fullmatch(name) is None:
            raise ConfigurationError(
                "headers", {"***": "***"}, "names of letters, digits and !#$%&'*+-.^_`|~"
            )
        if name.lower() in FRAMING:
            raise ConfigurationError(
                "headers", {name: "***"}, "no Content-Length and no Transfer-Encoding: the client sets them"
            )
        if not isinstance(value, str) or _HEADER_VALUE.fullmatch(value) is None:
            allowed = "values of printable ASCII, without line ends, and no spaces around them"
            raise ConfigurationError("headers", {name: "***"}, allowed)
    return dict(given)
