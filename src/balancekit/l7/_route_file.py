"""Route tables from documents: what a TOML or JSON file says, with pools by name.

.. code-block:: toml

    [table]
    order = "first"                       # or "specific"
    spelling = "STRICT"                   # or RFC3986, RAW, NGINX, ENVOY
    no_match = "web"

    [[route]]
    name = "orders"
    to = { stable = 95, canary = 5 }      # or a pool's name
    by = "cookie:uid"
    host = ["*.shop.test"]
    prefix = "/orders"                    # or exact, text_prefix, regex, template
    method = ["GET", "HEAD"]
    headers = [{ name = "x-beta", is = "1" }]
    timeout = 2.0
    attempts = 2

Conditions in ``headers``, ``cookies`` and ``query`` have a name and one of ``is``, ``is_not``, ``starts``, ``contains``,
``matches``, ``between`` (two numbers), ``present`` or ``absent`` (``true``).

Cost: construction only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from balancekit._support import tables
from balancekit._support.arguments import checked_arguments
from balancekit.errors import ConfigurationError
from balancekit.l7._patterns import PathPattern, exact, prefix, regex, template, text_prefix
from balancekit.l7._route import Route
from balancekit.l7._spelling import Spelling
from balancekit.l7._split import Split
from balancekit.l7._table import RouteTable
from balancekit.l7._values import Value, ValueCondition, cookie, header, query

__all__ = ["route_table"]

PATHS: Final[dict[str, Callable[[str], PathPattern]]] = {
    "exact": exact,
    "prefix": prefix,
    "text_prefix": text_prefix,
    "regex": regex,
    "template": template,
}
SOURCES: Final[dict[str, Callable[[str], Value]]] = {"headers": header, "cookies": cookie, "query": query}
OPERATORS: Final = ("is", "is_not", "starts", "contains", "matches", "between", "present", "absent")
PLAIN: Final = ("host", "method", "priority", "timeout", "attempts", "retry_on", "rewrite")
SPELLINGS: Final = {name: getattr(Spelling, name) for name in ("STRICT", "RFC3986", "RAW", "NGINX", "ENVOY")}


@checked_arguments
def route_table(document: Mapping[str, Any], *, pools: Mapping[str, Any] | None = None) -> RouteTable[Any]:
    """Return the table that a document describes.

    Parameters
    ----------
    document
        As parsed from TOML or JSON.
    pools
        Pools by the names in the document; left out, the names stand for themselves.

    Raises
    ------
    ConfigurationError
        For unknown keys, operators and pools, and whatever routes and tables refuse. Names of the route are in the text.

    Example
    -------
    >>> from balancekit.l7 import Request, route_table
    >>> table = route_table({"route": [{"name": "api", "to": "api", "prefix": "/api"}, {"name": "site", "to": "web"}]})
    >>> table.match(Request("/api/x")).pool()
    'api'
    """
    _known("document", document, ("table", "route"))
    table = document.get("table", {})
    _known("table", table, ("order", "spelling", "no_match"))
    options = dict(table)
    spelling = options.pop("spelling", "STRICT")
    if not isinstance(spelling, str) or spelling not in SPELLINGS:
        raise ConfigurationError("spelling", spelling, f"one of {', '.join(SPELLINGS)}")
    if "no_match" in options:
        options["no_match"] = _pool(options["no_match"], pools)
    routes = document.get("route", [])
    if not isinstance(routes, list):
        raise ConfigurationError("route", routes, "an array of tables, [[route]]")
    made = [_route(number, entry, pools) for number, entry in enumerate(routes, start=1)]
    return RouteTable(made, spelling=SPELLINGS[spelling], **options)


def _route(number: int, entry: Any, pools: Mapping[str, Any] | None) -> Route[Any]:
    if not isinstance(entry, Mapping):
        raise ConfigurationError("route", entry, f"a table, in route {number}")
    name = entry.get("name")
    try:
        return _made(entry, pools)
    except ConfigurationError as error:
        raise ConfigurationError(
            error.parameter, error.value, f"{error.allowed}, in route {repr(name) if name else number}"
        ) from None


def _made(entry: Mapping[str, Any], pools: Mapping[str, Any] | None) -> Route[Any]:
    _known("route", entry, ("name", "to", "by", "salt", *PATHS, *SOURCES, *PLAIN))
    paths = [PATHS[key](entry[key]) for key in PATHS if key in entry]
    if len(paths) > 1:
        raise ConfigurationError("route", [key for key in PATHS if key in entry], "one kind of path")
    conditions: dict[str, Any] = {
        key: [_condition(key, one) for one in _list(key, entry[key])] for key in SOURCES if key in entry
    }
    plain = {key: entry[key] for key in PLAIN if key in entry}
    return Route(
        entry.get("name", ""), _target(entry, pools), path=paths[0] if paths else None, **conditions, **plain
    )


def _target(entry: Mapping[str, Any], pools: Mapping[str, Any] | None) -> Any:
    to = entry.get("to")
    if not isinstance(to, Mapping):
        return _pool(to, pools)
    known = {name: _pool(name, pools) for name in to}
    return Split(to, pools=known, by=entry.get("by"), salt=entry.get("salt", ""))


def _pool(name: Any, pools: Mapping[str, Any] | None) -> Any:
    if not isinstance(name, str) or not name:
        raise ConfigurationError("to", name, "a pool's name, or a table of weights by name")
    if pools is None:
        return name
    if name not in pools:
        raise ConfigurationError("to", name, f"one of the pools {', '.join(pools)}")
    return pools[name]


def _condition(key: str, entry: Any) -> ValueCondition:
    if not isinstance(entry, Mapping) or "name" not in entry:
        raise ConfigurationError(key, entry, "tables with a name and a comparison")
    _known(key, entry, ("name", *OPERATORS))
    found = [operator for operator in OPERATORS if operator in entry]
    if len(found) != 1:
        raise ConfigurationError(key, dict(entry), f"one of {', '.join(OPERATORS)}")
    value, operator, argument = SOURCES[key](entry["name"]), found[0], entry[found[0]]
    if operator in {"present", "absent"}:
        if argument is not True:
            raise ConfigurationError(operator, argument, "true")
        return value.present() if operator == "present" else value.absent()
    if operator == "between":
        if not isinstance(argument, list) or len(argument) != 2:
            raise ConfigurationError("between", argument, "two whole numbers")
        return value.between(*argument)
    made: ValueCondition = getattr(value, "is_" if operator == "is" else operator)(argument)
    return made


def _list(key: str, value: Any) -> list[Any]:
    if isinstance(value, list):
        return value
    raise ConfigurationError(key, value, f'a list of tables: {key} = [{{ name = "...", is = "..." }}]')


def _known(what: str, given: Any, names: Iterable[str]) -> None:
    if not isinstance(given, Mapping):
        raise ConfigurationError(what, given, "a table")
    allowed = list(names)
    tables.reject_unknown(what, [key for key in given if key not in allowed], allowed)
