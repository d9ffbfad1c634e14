"""Decisions about connections: which endpoint keeps a flow, which pool takes a connection, which client it is.

=======================  ===================================================================
:class:`FlowTable`       live connections keep their endpoint while endpoints come and go
:class:`StickyFlows`     the same as a selector for ``LoadBalancer``
:class:`Ecmp`            a hash to one of several next hops, and exactly what a change moves
:class:`ResilientGroup`  hash buckets that move when they are idle
:class:`FlowRoutes`      a pool by addresses, server name and protocols
:class:`Nat`             local ports for connections to servers
:class:`DsrBook`         what is unknown when servers answer clients directly
:mod:`proxy_protocol`    the client's address, sent ahead of a connection
:mod:`client_hello`      server name and protocols of a TLS connection, read without TLS
:func:`flow_key`         the packed five-tuple
=======================  ===================================================================

Pure: bytes and times go in, decisions come out. Sockets are the caller's; ``docs/how-to/edge-tcp.md`` has a proxy.
"""

from __future__ import annotations

from balancekit._support.lazy import lazily

TYPE_CHECKING = False
if TYPE_CHECKING:
    from balancekit.l4 import client_hello, proxy_protocol
    from balancekit.l4._dsr import DsrBook, Traffic
    from balancekit.l4._ecmp import Ecmp
    from balancekit.l4._flow_key import flow_key
    from balancekit.l4._flow_routes import FlowMatch, FlowRoutes
    from balancekit.l4._flow_table import FlowTable, FlowTableStats
    from balancekit.l4._nat import Nat, NatStats
    from balancekit.l4._pins import Steer
    from balancekit.l4._resilient import ResilientGroup
    from balancekit.l4._results import NeedMore
    from balancekit.l4._sticky_flows import StickyFlows

__all__ = [
    "DsrBook",
    "Ecmp",
    "FlowMatch",
    "FlowRoutes",
    "FlowTable",
    "FlowTableStats",
    "Nat",
    "NatStats",
    "NeedMore",
    "ResilientGroup",
    "Steer",
    "StickyFlows",
    "Traffic",
    "client_hello",
    "flow_key",
    "proxy_protocol",
]

if not TYPE_CHECKING:  # type checkers read the imports above, and know no other names
    _find = lazily(
        __name__,
        {
            "_dsr": ("DsrBook", "Traffic"),
            "_ecmp": ("Ecmp",),
            "_flow_key": ("flow_key",),
            "_flow_routes": ("FlowMatch", "FlowRoutes"),
            "_flow_table": ("FlowTable", "FlowTableStats"),
            "_nat": ("Nat", "NatStats"),
            "_pins": ("Steer",),
            "_resilient": ("ResilientGroup",),
            "_results": ("NeedMore",),
            "_sticky_flows": ("StickyFlows",),
        },
    )

    def __getattr__(name: str) -> object:
        if name in {"client_hello", "proxy_protocol"}:
            return __import__(f"{__name__}.{name}", fromlist=[name])
        return _find(name)


def __dir__() -> list[str]:
    return list(__all__)
