"""Kinds of proxy configurations, recognised by their text, and the reader of each."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Final

from balancekit._support.arguments import checked_arguments
from balancekit.errors import ConfigurationError
from balancekit.proxyconfig._config import ProxyConfig
from balancekit.proxyconfig._envoy import read_envoy
from balancekit.proxyconfig._files import Files
from balancekit.proxyconfig._haproxy import read_haproxy
from balancekit.proxyconfig._model import Origin
from balancekit.proxyconfig._nginx import read_nginx

__all__ = ["kind_of_text", "read_config"]

READERS: Final[Mapping[str, Callable[[str], ProxyConfig]]] = {
    "nginx": read_nginx,
    "haproxy": read_haproxy,
    "envoy": read_envoy,
}
HAPROXY: Final = re.compile(r"^(?:global|defaults|frontend|backend|listen)\b[^;{]*$", re.MULTILINE)
ENVOY: Final = re.compile(
    r"""(?:^|[{,])\s*["']?(?:static_?[rR]esources|dynamic_?[rR]esources)["']?\s*:""", re.MULTILINE
)
"""Lines, or one line of JSON without blanks."""


@checked_arguments
def kind_of_text(text: str) -> str:
    r"""Return ``"envoy"``, ``"haproxy"`` or ``"nginx"`` for a configuration.

    Example
    -------
    >>> kind_of_text("upstream u { server 10.0.0.1; }"), kind_of_text("backend b\\n  server a 10.0.0.1:80\n")
    ('nginx', 'haproxy')
    """
    text = text.removeprefix("\ufeff")
    if ENVOY.search(text):
        return "envoy"
    return "haproxy" if HAPROXY.search(text) else "nginx"


@checked_arguments
def read_config(path: str, *, kind: str | None = None) -> ProxyConfig:
    """Read the configuration of a proxy.

    Parameters
    ----------
    path
        The file.
    kind
        ``"nginx"``, ``"haproxy"`` or ``"envoy"``; recognised by the text if left out.

    Raises
    ------
    ProxyConfigError
        If it cannot be read, with file and line.
    ConfigurationError
        If there is no such kind.
    """
    if kind is None:
        kind = kind_of_text(Files().read(path, Origin(path, 1)))
    if kind not in READERS:
        raise ConfigurationError("kind", kind, " or ".join(map(repr, READERS)))
    return READERS[kind](path)
