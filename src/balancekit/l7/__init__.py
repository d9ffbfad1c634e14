"""Request routing (L7): which pool gets this request.

==============================  ====================================================================
:class:`Request`                a request as routes read it, from ASGI, WSGI or a URL
:class:`Route`, :class:`Split`  conditions and where to; weighted shares over several pools
:class:`RouteTable`             ``match``, ``explain``, ``check``, ``plan``, ``replace``
:class:`Spelling`               which paths and hosts count as the same; ambiguous ones are rejected
path patterns                   :func:`exact`, :func:`prefix`, :func:`text_prefix`, :func:`regex`,
                                :func:`template`
conditions                      :func:`header`, :func:`cookie`, :func:`query`
:func:`route_table`             a table from a TOML or JSON document
==============================  ====================================================================

.. code-block:: python

    table = RouteTable([
        Route("orders", Split({api: 95, canary: 5}, by="cookie:uid"), path=prefix("/orders"), timeout=2.0, attempts=2),
        Route("site", web),
    ])
    match = table.match(Request.from_asgi(scope))
    with match.lease(user) as lease:
        ...

A pool is anything; usually it is a balancer. Nothing here reads a clock, draws randomness or does I/O.
"""

from __future__ import annotations

from balancekit._support.lazy import lazily

TYPE_CHECKING = False
if TYPE_CHECKING:
    from balancekit.l7._changes import RouteChange, RoutePlan
    from balancekit.l7._check import RouteProblem
    from balancekit.l7._explanation import RouteAnswer, RouteExplanation
    from balancekit.l7._patterns import (
        PathPattern,
        exact,
        prefix,
        regex,
        template,
        text_prefix,
    )
    from balancekit.l7._request import Headers, Request
    from balancekit.l7._route import Route
    from balancekit.l7._route_file import route_table
    from balancekit.l7._spelling import Spelling
    from balancekit.l7._split import Split
    from balancekit.l7._table import Match, RouteTable
    from balancekit.l7._values import Value, ValueCondition, cookie, header, query

__all__ = [
    "Headers",
    "Match",
    "PathPattern",
    "Request",
    "Route",
    "RouteAnswer",
    "RouteChange",
    "RouteExplanation",
    "RoutePlan",
    "RouteProblem",
    "RouteTable",
    "Spelling",
    "Split",
    "Value",
    "ValueCondition",
    "cookie",
    "exact",
    "header",
    "prefix",
    "query",
    "regex",
    "route_table",
    "template",
    "text_prefix",
]

if not TYPE_CHECKING:  # type checkers read the imports above, and know no other names
    __getattr__ = lazily(
        __name__,
        {
            "_changes": ("RouteChange", "RoutePlan"),
            "_check": ("RouteProblem",),
            "_explanation": ("RouteAnswer", "RouteExplanation"),
            "_patterns": ("PathPattern", "exact", "prefix", "regex", "template", "text_prefix"),
            "_request": ("Headers", "Request"),
            "_route": ("Route",),
            "_route_file": ("route_table",),
            "_spelling": ("Spelling",),
            "_split": ("Split",),
            "_table": ("Match", "RouteTable"),
            "_values": ("Value", "ValueCondition", "cookie", "header", "query"),
        },
    )


def __dir__() -> list[str]:
    return list(__all__)
