"""Detection of the kind of a configuration by its text, and the reader of each kind."""

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
from balancekit.proxyconfig._model import Origin, ProxyConfigError
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
"""Matches YAML with one key per line, and JSON in one line."""


@checked_arguments
def kind_of_text(text: str) -> str:
    r"""Return the kind of a configuration: ``"envoy"``, ``"haproxy"`` or, for any other text, ``"nginx"``.

    Example
    -------
    >>> from balancekit.proxyconfig import kind_of_text
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
        The path of the file.
    kind
        ``"nginx"``, ``"haproxy"`` or ``"envoy"``. By default, the kind is detected by the text.

    Raises
    ------
    ProxyConfigError
        If the file, or one that it includes, cannot be read or parsed. The error names file and line.
    ConfigurationError
        If ``kind`` is another word, or ``path`` is no string.
    """
    if kind is None and path.lower().endswith(".toml"):
        raise ProxyConfigError(Origin(path, 1), "TOML, which is no configuration of nginx, HAProxy or Envoy")
    if kind is None:
        kind = kind_of_text(Files().read(path, Origin(path, 1)))
    if kind not in READERS:
        raise ConfigurationError("kind", kind, " or ".join(map(repr, READERS)))
    return READERS[kind](path)
