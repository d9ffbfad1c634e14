"""Export of pools and routes to the configuration of a proxy.

Settings for which the proxy has no equivalent are in :attr:`Export.differences`, and in comments at the head of the text.
Names, addresses and patterns are escaped. They are refused if they could end a word, a line or a block.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final

from balancekit._support.arguments import checked_arguments
from balancekit._support.record import Record
from balancekit.errors import ConfigurationError
from balancekit.l7 import RouteTable
from balancekit.proxyconfig._export_envoy import envoy_text
from balancekit.proxyconfig._export_facts import MAX_TIME_S, Difference, Exported
from balancekit.proxyconfig._export_haproxy import haproxy_text
from balancekit.proxyconfig._export_nginx import nginx_text
from balancekit.proxyconfig._export_pool import ExportPool
from balancekit.proxyconfig._export_routes import RouteRule, rules_of
from balancekit.proxyconfig._export_text import comment

__all__ = ["EXPORT_KINDS", "Export", "export_config"]

Write = Callable[[Sequence[Exported], Sequence[RouteRule], str], str]

EXPORT_KINDS: Final[Mapping[str, Write]] = MappingProxyType(
    {"nginx": nginx_text, "haproxy": haproxy_text, "envoy": envoy_text}
)
"""Writers by the kind of proxy."""
LISTEN: Final = re.compile(r"(?:([0-9.]{7,15})|\[([0-9A-Fa-f:.]{2,45})\]):([0-9]{1,5})")
MAX_PORT: Final = 65_535


class Export(Record):
    """A configuration for a proxy. Created by :func:`export_config`.

    Parameters
    ----------
    kind
        ``"nginx"``, ``"haproxy"`` or ``"envoy"``.
    text
        The text of the file.
    differences
        The differences between the proxy and the pools and routes in Python.
    fidelity
        By pool: ``"same"`` (the same servers in the same order), ``"rule"`` (the same rule and shares; random picks,
        ties and the order within a cycle differ), ``"keys"`` (each key has one server, but another one than in Python),
        ``"nearest"`` (no equivalent: see the differences).
    """

    kind: str
    text: str
    differences: tuple[Difference, ...]
    fidelity: Mapping[str, str]

    def __str__(self) -> str:
        return self.text


def _is_address(listen: str) -> bool:
    found = LISTEN.fullmatch(listen)
    try:
        _ = found and (ipaddress.IPv4Address(found[1]) if found[1] else ipaddress.IPv6Address(found[2]))
    except ValueError:
        return False
    return found is not None and 1 <= int(found[3]) <= MAX_PORT


@checked_arguments
def export_config(
    pools: Iterable[ExportPool],
    kind: str,
    *,
    routes: RouteTable[Any] | None = None,
    listen: str = "127.0.0.1:8080",
) -> Export:
    """Return pools and routes as the configuration of a proxy.

    Parameters
    ----------
    pools
        Pools with different names; see :func:`export_pool`. Without ``routes``, one pool, which gets every request.
    kind
        ``"nginx"``, ``"haproxy"`` or ``"envoy"``.
    routes
        A route table whose pools are names of ``pools``.
    listen
        The address and the port of the proxy.

    Raises
    ------
    ConfigurationError
        If ``pools`` is empty or has a name twice, ``kind`` is another word, ``routes`` is no ``RouteTable`` or has a
        pool that is not in ``pools``, ``listen`` is no IP address with a port, or a name or pattern cannot be written.

    Notes
    -----
    *Guarantee.* ``nginx -t`` (1.22), ``haproxy -c`` (2.6) and ``envoy --mode validate`` (1.40) accept the text, if the
    proxy accepts the regular expressions of the user. Every setting that is not written is among the differences.

    *When not to use it:* for TLS, logs and limits of the proxy. Add them to the file.

    Example
    -------
    >>> from balancekit import Endpoint
    >>> from balancekit.proxyconfig import ExportPool, export_config
    >>> pool = ExportPool(name="api", endpoints=(Endpoint("10.0.0.1:80", weight=2), Endpoint("10.0.0.2:80")),
    ...                   selector="RingHash", key="header:x-user")
    >>> found = export_config([pool], "haproxy")
    >>> print(found.differences[0])
    pool api: RingHash: each key keeps one server, but another than in Python
    >>> [line.strip() for line in found.text.splitlines() if "balance " in line or "server 10" in line]
    ['balance hdr(x-user)', 'server 10.0.0.1:80 10.0.0.1:80 weight 20', 'server 10.0.0.2:80 10.0.0.2:80 weight 10']
    """
    if kind not in EXPORT_KINDS:
        raise ConfigurationError("kind", kind, " or ".join(map(repr, EXPORT_KINDS)))
    if not _is_address(listen):
        raise ConfigurationError("listen", listen, "an IP address and a port, such as '127.0.0.1:8080'")
    found = _distinct(pools)
    names = [pool.name for pool in found]
    if routes is None and len(found) > 1:
        raise ConfigurationError("routes", routes, f"a RouteTable that leads to {', '.join(names)}")
    noted: list[Difference] = []
    written = [Exported(kind, pool, noted) for pool in found]
    rules: list[RouteRule] = []
    if routes is not None:
        rules = rules_of(routes, names)
        noted += _differences_of_routes(kind, rules)
    text = EXPORT_KINDS[kind](written, rules, listen)
    differences = tuple(dict.fromkeys(noted))
    return Export(
        kind=kind,
        text=_head(kind, differences) + text,
        differences=differences,
        fidelity={pool.pool.name: pool.fidelity for pool in written},
    )


def _distinct(pools: Iterable[ExportPool]) -> list[ExportPool]:
    """Return the pools: at least one, and no name twice."""
    found = list(pools)
    names = [pool.name for pool in found if isinstance(pool, ExportPool)]
    if not found or len(names) < len(found) or len(set(names)) < len(names):
        raise ConfigurationError("pools", names, "ExportPool objects, at least one, each name once")
    return found


def _differences_of_routes(kind: str, rules: Sequence[RouteRule]) -> Iterator[Difference]:
    """Yield what the proxy does otherwise than the route table."""
    yield Difference(
        where="", text="requests that the table rejects are sent on: the proxy reads paths its own way"
    )
    longest = MAX_TIME_S[kind]
    for rule in rules:
        where = f"route {rule.name}"
        if kind != "envoy" and (rule.timeout is not None or rule.attempts > 1 or rule.retry_on):
            yield Difference(where=where, text="its time-out, attempts and retry_on are not written")
        if rule.timeout is not None and rule.timeout > longest:
            text = f"no time is longer than {longest:,} s; {rule.timeout:g} s is cut"
            yield Difference(where=where, text=text)


def _head(kind: str, differences: Sequence[Difference]) -> str:
    """Return the comments at the head of a configuration."""
    lines = [f"# Written by balancekit for {kind}."]
    if differences:
        lines += ["# What differs from the configuration that it was made of:"]
        lines += [f"#   {comment(str(one))}" for one in differences]
    return "\n".join(lines) + "\n"
